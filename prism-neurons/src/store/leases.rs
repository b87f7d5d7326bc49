//! Devices: each one running run's at a time, all that a run asks for or none, and none asked for in vain for ever.
use super::{
    StoreError,
    column::{execute, millis, rows},
};
use prism_core::TaskId;
use prism_eval::policy::ExecutionTargets;
use rusqlite::{Connection, params};
use std::{collections::BTreeSet, time::SystemTime};

/// Devices of one target, for one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Devices {
    /// The target's name.
    pub target: String,
    /// Which of its devices, in its order.
    pub ids: Vec<String>,
}

/// What is free of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Room {
    target: String,
    of: usize,
    free: Vec<String>,
}

/// What may still be given away.
///
/// Who is refused reserves the target with the most free devices of those that are large enough: nobody behind gets any of
/// it. No device of the fullest-free target is given away meanwhile, so the number of its free devices only grows, and as
/// every run ends, whoever reserves first is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Free(Vec<Room>);

impl Free {
    /// The devices of targets that take runs, but for those taken.
    pub(super) fn of(targets: &ExecutionTargets, taken: &BTreeSet<String>) -> Self {
        let open = targets.targets.iter().filter(|target| target.takes_runs());
        Self(
            open.map(|target| Room {
                target: target.id.clone(),
                of: target.devices.len(),
                free: target.devices.iter().filter(|device| !taken.contains(*device)).cloned().collect(),
            })
            .collect(),
        )
    }

    /// `count` devices of the target where the fewest are left over; the first such one.
    pub(super) fn grant(&mut self, count: usize) -> Option<Devices> {
        let fits = self.0.iter_mut().filter(|room| room.free.len() >= count);
        let room = fits.min_by_key(|room| room.free.len())?;
        Some(Devices { target: room.target.clone(), ids: room.free.drain(..count).collect() })
    }

    /// Keeps a target for whoever was refused `count` devices; nothing where none is large enough.
    pub(super) fn reserve(&mut self, count: usize) {
        let large = self.0.iter().enumerate().filter(|(_, room)| room.of >= count);
        // The first of equals: `max_by_key` would take the last.
        let most = large.min_by_key(|(_, room)| std::cmp::Reverse(room.free.len())).map(|(place, _)| place);
        if let Some(place) = most {
            self.0.remove(place);
        }
    }
}

/// Devices that runs have now.
pub(super) fn taken(db: &Connection) -> Result<BTreeSet<String>, StoreError> {
    Ok(rows(db, "SELECT device FROM device_leases", [], |row| row.text("device"))?.into_iter().collect())
}

/// Gives devices to a run in one attempt. The schema lets a device be given once only.
pub(super) fn take(
    db: &Connection,
    devices: &Devices,
    task: TaskId,
    owner: &str,
    attempt: u32,
    now: SystemTime,
) -> Result<(), StoreError> {
    for device in &devices.ids {
        let sql = "INSERT INTO device_leases (device, target, task, owner, attempt, taken_at)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        execute(db, sql, params![device, devices.target, task.to_string(), owner, attempt, millis(now)])?;
    }
    Ok(())
}

/// Takes the devices of a run that is not running any more.
pub(super) fn release(db: &Connection, task: &str) -> Result<(), StoreError> {
    execute(db, "DELETE FROM device_leases WHERE task = ?1", [task])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use prism_eval::policy::ExecutionTarget;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn targets(sizes: &[usize]) -> ExecutionTargets {
        let target = |(place, size): (usize, &usize)| ExecutionTarget {
            id: format!("t{place}"),
            devices: (0..*size).map(|device| format!("{place}.{device}")).collect(),
            enabled: true,
            draining: false,
        };
        ExecutionTargets { targets: sizes.iter().enumerate().map(target).collect() }
    }

    #[test]
    fn a_run_gets_all_its_devices_of_one_target_or_none() {
        let mut free = Free::of(&targets(&[2, 4]), &BTreeSet::new());
        let two = free.grant(2).unwrap();
        assert_eq!((two.target.as_str(), two.ids), ("t0", vec!["0.0".to_owned(), "0.1".to_owned()]), "the best fit");
        assert_eq!(free.grant(3).unwrap().ids.len(), 3);
        assert_eq!(free.grant(2), None, "one is left");
        assert_eq!(free.grant(1).unwrap().ids, ["1.3"]);
        assert_eq!(free.grant(1), None);
    }

    #[test]
    fn what_drains_or_is_disabled_takes_no_run() {
        let mut all = targets(&[1, 1, 1]);
        (all.targets[0].draining, all.targets[1].enabled) = (true, false);
        let mut free = Free::of(&all, &BTreeSet::new());
        assert_eq!((free.grant(1).unwrap().target, free.grant(1)), ("t2".to_owned(), None));
    }

    proptest! {
        /// Random machines and requests, smaller ones coming for as long as the big one waits: no device is ever given
        /// twice, and everybody who can be served at all is.
        #[test]
        fn no_device_is_given_twice_and_nobody_waits_for_ever(
            sizes in prop::collection::vec(1usize..9, 1..4),
            asks in prop::collection::vec((1usize..9, 1u32..5), 1..30),
            filler in 1usize..3,
        ) {
            let targets = targets(&sizes);
            let largest = targets.largest();
            let mut running: Vec<(Devices, u32)> = Vec::new();
            let mut waiting: VecDeque<(usize, u32, bool)> = VecDeque::new();
            let mut asks: VecDeque<_> = asks.into_iter().filter(|(count, _)| *count <= largest).collect();
            let wanted = asks.len();
            let mut served = 0;
            for round in 0..2_000u32 {
                for run in &mut running {
                    run.1 -= 1;
                }
                running.retain(|run| run.1 > 0);
                waiting.extend(asks.pop_front().map(|(count, time)| (count, time, true)));
                // A stream of small runs that never ends.
                waiting.push_back((filler.min(largest), 1 + round % 3, false));
                let taken: Vec<&String> = running.iter().flat_map(|(devices, _)| &devices.ids).collect();
                let set: BTreeSet<String> = taken.iter().map(|id| (*id).clone()).collect();
                prop_assert_eq!(set.len(), taken.len(), "a device was given twice");
                let mut free = Free::of(&targets, &set);
                waiting.retain(|(count, time, counts)| match free.grant(*count) {
                    Some(devices) => {
                        assert_eq!(devices.ids.len(), *count);
                        running.push((devices, *time));
                        served += usize::from(*counts);
                        false
                    }
                    None => {
                        free.reserve(*count);
                        true
                    }
                });
                if served == wanted && asks.is_empty() {
                    return Ok(());
                }
            }
            prop_assert!(false, "{} of {} were served", served, wanted);
        }
    }
}
