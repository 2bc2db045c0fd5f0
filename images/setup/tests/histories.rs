//! Random histories of a configuration partition, with the power cut in any call: nothing is ever half there.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may fail the test")]

use image_setup::{
    SetupError, commit,
    files::Files,
    folder::Folder,
    trial::{self, Now, Stand},
};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A FAT whose power goes in the n-th call; `torn` chooses what of that call happened.
#[derive(Debug, Clone, Default)]
struct Cut {
    files: BTreeMap<String, Vec<u8>>,
    calls_left: Option<usize>,
    torn: u8,
}

impl Cut {
    fn power(&mut self) -> bool {
        match &mut self.calls_left {
            None => true,
            Some(0) => false,
            Some(n) => {
                *n -= 1;
                true
            }
        }
    }
    fn off() -> Result<(), SetupError> {
        Err(SetupError::Folder {
            operation: "reach",
            path: "/".into(),
            source: std::io::Error::other("power cut"),
        })
    }
    fn below(&self, path: &str) -> Vec<String> {
        let inside = format!("{path}/");
        self.files.keys().filter(|k| *k == path || k.starts_with(&inside)).cloned().collect()
    }
}

impl Folder for Cut {
    fn read(&self, path: &str, _: u64) -> Result<Option<Vec<u8>>, SetupError> {
        Ok(self.files.get(path).cloned())
    }
    fn list(&self, folder: &str) -> Result<Vec<String>, SetupError> {
        let names = self.files.keys().filter_map(|k| match k.split_once('/') {
            None => folder.is_empty().then(|| k.clone()),
            Some((f, name)) => (f == folder).then(|| name.to_owned()),
        });
        Ok(names.collect())
    }
    fn write(&mut self, path: &str, bytes: &[u8]) -> Result<(), SetupError> {
        if self.power() {
            self.files.insert(path.into(), bytes.into());
            return Ok(());
        }
        match self.torn % 3 {
            0 => {}
            1 => drop(self.files.insert(path.into(), bytes.get(..bytes.len() / 2).unwrap().into())),
            _ => drop(self.files.insert(path.into(), bytes.into())),
        }
        Self::off()
    }
    fn rename(&mut self, from: &str, to: &str) -> Result<(), SetupError> {
        let bytes = self.files.get(from).cloned().expect("renames what is there");
        if self.power() {
            self.files.remove(from);
            self.files.insert(to.into(), bytes);
            return Ok(());
        }
        match self.torn % 4 {
            0 => {}
            1 => drop(self.files.insert(to.into(), bytes)), // both names
            2 => drop(self.files.remove(to)),               // the old target is gone, the new not there yet
            _ => {
                self.files.remove(from);
                self.files.insert(to.into(), bytes);
            }
        }
        Self::off()
    }
    fn remove(&mut self, path: &str) -> Result<(), SetupError> {
        let all = self.below(path);
        if self.power() {
            all.iter().for_each(|k| drop(self.files.remove(k)));
            return Ok(());
        }
        let some = all.len() * usize::from(self.torn % 3) / 2;
        all.iter().take(some).for_each(|k| drop(self.files.remove(k)));
        Self::off()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Apply {
        which: u8,
        within_s: u32,
    },
    Confirm,
    TakeBack,
    Pass {
        ms: u64,
    },
    Reboot,
    /// the next step loses power in its n-th call
    CutIn {
        calls: usize,
        torn: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..5, 10u32..100).prop_map(|(which, within_s)| Step::Apply { which, within_s }),
        3 => Just(Step::Confirm),
        2 => Just(Step::TakeBack),
        3 => (0u64..120_000).prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::Reboot),
        4 => (0usize..24, any::<u8>()).prop_map(|(calls, torn)| Step::CutIn { calls, torn }),
    ]
}

/// Networks that differ in number, names and content.
fn network(which: u8) -> Files {
    let mut files = Files::new();
    for n in 0..=which % 3 {
        files.put(&format!("network/{}{n}.network", which % 2), vec![which; 40 + usize::from(n)]).unwrap();
    }
    files
}

fn in_use(folder: &Cut) -> Files {
    Files::load_network(folder, "network").unwrap()
}

/// What must hold, kept beside the real thing.
struct Model {
    folder: Cut,
    now: Now,
    /// the network that a restart must lead to; two while a confirmation was cut
    kept: Vec<Files>,
    trial: Option<(Files, u64)>,
}

impl Model {
    fn new() -> Self {
        let mut folder = Cut::default();
        for (name, bytes) in network(0).iter() {
            folder.write(name, bytes).unwrap();
        }
        folder.write("xinguan.toml", b"untouched").unwrap();
        let now = Now { boot: "boot-0".into(), ms: 5000 };
        Self { folder, now, kept: vec![network(0)], trial: None }
    }
    fn reboot(&mut self) -> Result<(), TestCaseError> {
        self.folder.calls_left = None;
        self.now = Now { boot: format!("{}x", self.now.boot), ms: 3000 };
        trial::recover(&mut self.folder, &self.now).unwrap();
        self.trial = None;
        let found = in_use(&self.folder);
        prop_assert!(self.kept.contains(&found), "after a restart: {found:?}, expected {:?}", self.kept);
        self.kept = vec![found];
        prop_assert_eq!(trial::stand(&self.folder, &self.now).unwrap(), Stand::Settled);
        let left: Vec<_> = self.folder.files.keys().filter(|k| !k.starts_with("network/")).collect();
        prop_assert_eq!(left, ["xinguan.toml"], "nothing is left over");
        Ok(())
    }
    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let waiting = self.trial.as_ref().is_some_and(|(_, deadline)| self.now.ms < *deadline);
        let done = match step {
            Step::Pass { ms } => {
                self.now.ms += ms;
                return Ok(());
            }
            Step::CutIn { calls, torn } => {
                self.folder.calls_left = Some(*calls);
                self.folder.torn = *torn;
                return Ok(());
            }
            Step::Reboot => return self.reboot(),
            Step::Apply { which, within_s } => {
                let new = network(*which);
                let done = trial::apply(&mut self.folder, &new, *within_s, &self.now);
                if done.is_ok() {
                    prop_assert!(self.trial.is_none(), "one trial at a time");
                    self.trial = Some((new, self.now.ms + u64::from(*within_s) * 1000));
                }
                done
            }
            Step::Confirm => {
                let done = trial::confirm(&mut self.folder, &self.now);
                if let (true, Some((new, _))) = (waiting, &self.trial) {
                    self.kept.push(new.clone()); // cut: old or new
                }
                if done.is_ok() {
                    prop_assert!(waiting, "confirmed too late, or nothing");
                    self.kept = self.trial.take().map(|t| t.0).into_iter().collect();
                }
                done
            }
            Step::TakeBack => {
                let done = trial::take_back(&mut self.folder);
                if done.is_ok() {
                    self.trial = None;
                }
                done.map(drop)
            }
        };
        match done {
            Err(SetupError::Folder { .. }) => return self.reboot(), // the power went
            Err(SetupError::Trial(_)) | Ok(()) => {}
            Err(e) => return Err(TestCaseError::fail(e.to_string())),
        }
        self.folder.calls_left = None;
        let expected = self.trial.as_ref().map(|(new, _)| new).or(self.kept.first()).unwrap();
        prop_assert_eq!(&in_use(&self.folder), expected);
        let stand = trial::stand(&self.folder, &self.now).unwrap();
        let expected = match &self.trial {
            None => Stand::Settled,
            Some((_, deadline)) if self.now.ms < *deadline => Stand::Waiting(deadline - self.now.ms),
            Some(_) => Stand::Over,
        };
        prop_assert_eq!(stand, expected);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn an_unconfirmed_network_never_survives(steps in prop::collection::vec(step(), 1..40)) {
        let mut model = Model::new();
        for step in &steps {
            model.take(step)?;
        }
        model.reboot()?;
    }

    #[test]
    fn a_set_is_all_there_or_not_at_all(calls in 0usize..40, torn: u8, again in 0usize..40, whole: bool) {
        let mut folder = Cut::default();
        let mut old = network(1);
        old.put("xinguan.toml", "old").unwrap();
        for (name, bytes) in old.iter() {
            folder.write(name, bytes).unwrap();
        }
        let mut new = network(2);
        new.put("xinguan.toml", "new").unwrap();
        new.put("genesis.json", "{}").unwrap();
        folder.calls_left = Some(calls);
        folder.torn = torn;
        let done = commit::put_in_place(&mut folder, &new, whole);
        folder.calls_left = Some(again); // the start after it loses power, too
        let _ = commit::recover(&mut folder);
        folder.calls_left = None;
        commit::recover(&mut folder).unwrap();
        let found = Files::load(&folder).unwrap();
        let mut wanted = new.clone();
        if !whole {
            old.network().iter().filter(|(n, _)| new.file(n).is_none()).for_each(|(n, b)| wanted.put(n, b).unwrap());
        }
        prop_assert!(found == old || found == wanted, "{found:?}");
        prop_assert!(done.is_err() || found == wanted, "what was done stays");
        prop_assert!(folder.files.keys().all(|k| !k.starts_with("next") && !k.ends_with(".new")));
    }
}
