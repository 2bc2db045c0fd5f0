//! Local time, never below the highest verified header time.
//!
//! A clock that was set back does not revive what has expired: neither certificates and TLS bindings, nor
//! statements, deadlines and nonces. The height and time that were seen are kept with the ledger's state.

use gw_ledger::StateHandle;
use gw_proto::{Clock, UnixMillis};
use std::{sync::Arc, time::Instant};

/// The gateway's "now": the machine's, lifted by the chain's.
pub struct ChainClock {
    machine: Arc<dyn Clock>,
    state: StateHandle,
}

impl ChainClock {
    /// Over the machine's clock, which `state` knows too.
    pub fn new(machine: Arc<dyn Clock>, state: StateHandle) -> Self {
        Self { machine, state }
    }
}

impl Clock for ChainClock {
    fn now(&self) -> UnixMillis {
        self.state.now()
    }
    fn instant(&self) -> Instant {
        self.machine.instant()
    }
}

#[cfg(test)]
#[cfg(feature = "dev")]
mod tests {
    use super::*;
    use gw_ledger::{
        fake::{FakeChain, Plan, fake_genesis, fake_key},
        verify_block,
    };
    use gw_proto::{Height, clock::FakeClock, genesis::Governance};
    use gw_store::MemStore;

    #[test]
    fn a_clock_set_back_does_not_go_below_the_chain() {
        let sealer = (Arc::new(fake_key(1).unwrap()), 1);
        let keys = vec![*fake_key(2).unwrap().public_key()];
        let genesis = fake_genesis(std::slice::from_ref(&sealer), Governance { threshold: 1, keys }).unwrap();
        let machine = Arc::new(FakeClock::at(UnixMillis(1_000_000)));
        let store = Arc::new(MemStore::default());
        let state = StateHandle::open(store, genesis.clone(), machine.clone(), Height(0)).unwrap();
        let clock = ChainClock::new(machine.clone(), state.clone());
        assert_eq!(clock.now(), UnixMillis(1_000_000));

        let mut chain = FakeChain::new(genesis.clone(), vec![sealer]);
        chain.add(Plan::at(UnixMillis(1_004_000), Vec::new())).unwrap();
        let at = state.cursor();
        let block = chain.block(Height(1)).unwrap();
        state.commit(&verify_block(&genesis, at.height, &at.hash, &at.sealers, block).unwrap()).unwrap();
        assert_eq!(clock.now(), UnixMillis(1_004_000), "the machine says 1,000,000");
        machine.advance(std::time::Duration::from_secs(9));
        assert_eq!(clock.now(), UnixMillis(1_009_000), "the machine is ahead again");
        assert_eq!(clock.instant(), machine.instant());
    }
}
