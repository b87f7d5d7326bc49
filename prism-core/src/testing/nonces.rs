//! The suite of [`Nonces`].
use super::{Check, drive::Boxed, drive::join_all};
use crate::{error::Result, hotkey::Hotkey, nonces::Nonces};
use async_trait::async_trait;
use std::time::{Duration, SystemTime};

const ALICE: Hotkey = Hotkey([1; 32]);
const BOB: Hotkey = Hotkey([2; 32]);

/// Makes a nonce store do what its outside does.
#[async_trait]
pub trait NoncesDriver: Send + Sync {
    /// The store under test; it starts with nothing.
    fn nonces(&self) -> &dyn Nonces;
    /// Opens it again over what is stored, as after a crash.
    async fn restart(&mut self) -> Result<()>;
}

suite!(
    "Nonces", NoncesDriver,
    1 => clause_1_a_nonce_is_new_exactly_once,
    2 => clause_2_hotkeys_do_not_share_nonces,
    3 => clause_3_a_restart_forgets_nothing,
    4 => clause_4_spending_an_expired_nonce_again_is_no_error,
);

/// Some two centuries after 1970: later than any clock that is used here, and within every store's range.
fn far() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(200 * 365 * 86_400)
}

/// One after another, and 32 at once in one task.
pub async fn clause_1_a_nonce_is_new_exactly_once(driver: &mut dyn NoncesDriver) -> Check {
    let nonces = driver.nonces();
    for (time, new) in [("first", true), ("second", false), ("third", false)] {
        let answer = nonces.spend(ALICE, "one", far()).await?;
        ensure!(answer == new, "the {time} use was answered {answer}");
    }
    ensure!(nonces.spend(ALICE, "two", far()).await?, "another nonce of the same hotkey was refused");
    let all: Vec<Boxed<'_, _>> = (0..32).map(|_| nonces.spend(ALICE, "at once", far())).collect();
    let answers: Vec<bool> = join_all(all).await.into_iter().collect::<Result<_>>()?;
    let new = answers.iter().filter(|answer| **answer).count();
    ensure!(new == 1, "of 32 uses at once {new} were the first");
    Ok(())
}

/// The same nonce under two hotkeys.
pub async fn clause_2_hotkeys_do_not_share_nonces(driver: &mut dyn NoncesDriver) -> Check {
    for hotkey in [ALICE, BOB] {
        ensure!(driver.nonces().spend(hotkey, "shared", far()).await?, "the nonce of another hotkey stood in the way");
    }
    Ok(())
}

/// Spends, restarts, spends again.
pub async fn clause_3_a_restart_forgets_nothing(driver: &mut dyn NoncesDriver) -> Check {
    driver.nonces().spend(ALICE, "before the crash", far()).await?;
    driver.restart().await?;
    let answer = driver.nonces().spend(ALICE, "before the crash", far()).await?;
    ensure!(!answer, "a nonce was new again after a restart");
    Ok(())
}

/// Spends a nonce of 1970 twice. That anything is forgotten is a permission, and not looked at.
pub async fn clause_4_spending_an_expired_nonce_again_is_no_error(driver: &mut dyn NoncesDriver) -> Check {
    let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    for _ in 0..2 {
        driver.nonces().spend(BOB, "old", past).await?;
    }
    Ok(())
}
