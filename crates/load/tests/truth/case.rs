//! A case: a plan of the load generator, and the network that it runs over.

use std::net::SocketAddr;
use std::time::Duration;

use mio_echo_load::{Plan, Recording, RunError, Sizes, Stopper, Until, run_on};
use net::connect::Target;
use sim::timed::{Ledger, Network, NetworkSettings};

/// A plan, and the network that it runs over. The sizes of the plan are the network's.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) plan: Plan,
    pub(crate) settings: NetworkSettings,
}

/// The result of a case: what the generator measured, and the truth.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) recording: Recording,
    pub(crate) ledger: Ledger,
}

impl Case {
    /// Makes a case without a warm-up and without faults: one connection in a closed loop, for a second.
    pub(crate) fn simple() -> Case {
        let mut plan = Plan::new("127.0.0.1:7007".parse().unwrap());
        plan.warmup = Duration::ZERO;
        plan.connections = 1;
        (plan.seed, plan.payload_key) = (1, 1);
        plan.until = Until::Elapsed(Duration::from_secs(1));
        Case {
            plan,
            settings: NetworkSettings::simple(),
        }
    }

    /// Runs the plan over the network.
    pub(crate) fn run(&self) -> Result<Outcome, RunError> {
        let mut plan = self.plan.clone();
        plan.sizes = Sizes::one(self.settings.message as u32).unwrap();
        let network = Network::new(self.settings.clone());
        let target = Target::Tcp(SocketAddr::from(([127, 0, 0, 1], 7007)));
        let stopper = Stopper::default();
        let recording = run_on(network.client(), target, &plan, &stopper, |_| ())?;
        let ledger = network.take_ledger();
        Ok(Outcome { recording, ledger })
    }
}
