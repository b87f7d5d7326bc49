//! The suite of [`SubmissionSource`].
use super::{Broken, Check, drive::poll_times, within};
use crate::{
    error::Result,
    id::SubmissionId,
    source::{Batch, Cursor, Disposition, SubmissionSource},
    submission::Submission,
};
use async_trait::async_trait;
use std::{collections::BTreeSet, time::Duration};

/// More than any clause adds.
const ALL: usize = 100;
/// An empty poll that takes longer is waiting for something.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Makes a source do what its outside does.
#[async_trait]
pub trait SourceDriver: Send + Sync {
    /// The source under test; it starts with nothing.
    fn source(&self) -> &dyn SubmissionSource;
    /// Makes one more submission available, later in precedence than those before; its id.
    async fn add(&mut self) -> Result<SubmissionId>;
    /// Puts a new source over the same place, as after a crash.
    async fn restart(&mut self) -> Result<()>;
}

suite!(
    "SubmissionSource", SourceDriver,
    1 => clause_1_returns_again_what_is_not_settled_under_the_same_id,
    2 => clause_2_resumes_from_a_cursor_without_loss_or_repetition,
    3 => clause_3_an_empty_batch_comes_at_once,
    4 => clause_4_never_more_than_max_and_in_order_of_precedence,
    5 => clause_5_settling_is_idempotent_and_moves_nothing_else,
    6 => clause_6_dropping_a_future_loses_nothing,
);

async fn add(driver: &mut dyn SourceDriver, count: usize) -> Result<Vec<SubmissionId>> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(driver.add().await?);
    }
    Ok(ids)
}

fn ids(submissions: &[Submission]) -> Vec<SubmissionId> {
    submissions.iter().map(|s| s.id).collect()
}

/// Polls on until `expected` submissions came or a batch is empty.
async fn walk(
    source: &dyn SubmissionSource,
    from: Option<Cursor>,
    max: usize,
    expected: usize,
) -> Result<(Vec<Submission>, Option<Cursor>)> {
    let (mut seen, mut cursor) = (Vec::new(), from);
    while seen.len() < expected {
        let Batch { submissions, next } = source.poll(cursor.as_ref(), max).await?;
        cursor = Some(next);
        if submissions.is_empty() {
            break;
        }
        seen.extend(submissions);
    }
    Ok((seen, cursor))
}

/// Polls the start twice, and once more after a restart.
pub async fn clause_1_returns_again_what_is_not_settled_under_the_same_id(driver: &mut dyn SourceDriver) -> Check {
    let added = add(driver, 3).await?;
    for time in ["first", "second", "third"] {
        let batch = driver.source().poll(None, ALL).await?;
        let came: BTreeSet<_> = ids(&batch.submissions).into_iter().collect();
        ensure!(
            came == added.iter().copied().collect(),
            "the {time} poll from the start returned {came:?}, added were {added:?}"
        );
        if time == "second" {
            driver.restart().await?;
        }
    }
    Ok(())
}

/// Walks seven submissions in threes with a restart in between, then adds two more.
pub async fn clause_2_resumes_from_a_cursor_without_loss_or_repetition(driver: &mut dyn SourceDriver) -> Check {
    let mut added = add(driver, 7).await?;
    let (mut came, cursor) = walk(driver.source(), None, 3, 3).await?;
    driver.restart().await?;
    let left = added.len().saturating_sub(came.len());
    let (rest, cursor) = walk(driver.source(), cursor, 3, left).await?;
    came.extend(rest);
    added.extend(add(driver, 2).await?);
    let left = added.len().saturating_sub(came.len());
    let (rest, _) = walk(driver.source(), cursor, 3, left).await?;
    came.extend(rest);
    let (mut came, mut wanted) = (ids(&came), added);
    came.sort_unstable();
    wanted.sort_unstable();
    ensure!(came == wanted, "walking by cursors returned {came:?}, added were {wanted:?}");
    Ok(())
}

/// Polls a source that has nothing, and one that has nothing more.
pub async fn clause_3_an_empty_batch_comes_at_once(driver: &mut dyn SourceDriver) -> Check {
    let waits = || Broken(format!("poll with nothing to return took longer than {} s", AT_ONCE.as_secs()));
    let nothing = within(AT_ONCE, driver.source().poll(None, ALL)).await.ok_or_else(waits)??;
    ensure!(nothing.submissions.is_empty(), "a source without submissions returned {:?}", nothing.submissions);
    add(driver, 2).await?;
    let (_, end) = walk(driver.source(), Some(nothing.next), ALL, 2).await?;
    let nothing = within(AT_ONCE, driver.source().poll(end.as_ref(), ALL)).await.ok_or_else(waits)??;
    ensure!(nothing.submissions.is_empty(), "after the last submission came {:?}", nothing.submissions);
    Ok(())
}

/// Polls with `max` of 0, 1 and 2 and looks at the order over all batches.
pub async fn clause_4_never_more_than_max_and_in_order_of_precedence(driver: &mut dyn SourceDriver) -> Check {
    let added = add(driver, 5).await?;
    for max in 0..3 {
        let came = driver.source().poll(None, max).await?.submissions.len();
        ensure!(came <= max, "{came} submissions came, at most {max} were asked for");
    }
    let (came, _) = walk(driver.source(), None, 2, added.len()).await?;
    let order: Vec<_> = came.iter().map(|s| s.precedence).collect();
    ensure!(order.is_sorted(), "submissions came in the order {order:?}");
    Ok(())
}

/// Settles one of four twice, loses the other settlements, restarts.
pub async fn clause_5_settling_is_idempotent_and_moves_nothing_else(driver: &mut dyn SourceDriver) -> Check {
    add(driver, 4).await?;
    let first = driver.source().poll(None, 2).await?;
    let after = ids(&driver.source().poll(Some(&first.next), ALL).await?.submissions);
    let all: BTreeSet<_> = ids(&driver.source().poll(None, ALL).await?.submissions).into_iter().collect();
    let settled = first.submissions.first().map(|s| s.id).ok_or_else(|| Broken("poll returned nothing".into()))?;
    for _ in 0..2 {
        driver.source().settle(settled, &Disposition::Completed).await?;
    }
    driver.restart().await?;
    driver.source().settle(settled, &Disposition::Completed).await?;
    let now = ids(&driver.source().poll(Some(&first.next), ALL).await?.submissions);
    ensure!(now == after, "after settling {settled:?} the same cursor gives {now:?} instead of {after:?}");
    let mut again: BTreeSet<_> = ids(&driver.source().poll(None, ALL).await?.submissions).into_iter().collect();
    again.insert(settled);
    ensure!(again.is_superset(&all), "after settling only {settled:?} the start gives {again:?} instead of {all:?}");
    Ok(())
}

/// Drops a poll before its first step, after its first, and so on. Sees only the steps at which the future waits.
pub async fn clause_6_dropping_a_future_loses_nothing(driver: &mut dyn SourceDriver) -> Check {
    let added: BTreeSet<_> = add(driver, 3).await?.into_iter().collect();
    for polls in 0..8 {
        let mut future = driver.source().poll(None, ALL);
        let done = poll_times(&mut future, polls).await.is_some();
        drop(future);
        if done {
            break;
        }
        let came: BTreeSet<_> = ids(&driver.source().poll(None, ALL).await?.submissions).into_iter().collect();
        ensure!(came == added, "after a poll dropped at step {polls} came {came:?}, added were {added:?}");
    }
    Ok(())
}
