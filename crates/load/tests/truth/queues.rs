//! Queues whose mean response times are given by theory: Poisson arrivals, one server, one FIFO queue over all
//! connections. The pipelines are so deep that no message waits in the client.
//!
//! The response times of neighbouring messages are correlated, so the standard error is calculated from the means of 40
//! batches. Each mean must be within three standard errors of theory. Each run has a million messages.

use std::time::Duration;

use mio_echo_load::{Arrivals, Until};
use sim::timed::{Behaviour, Costs, Times};

use super::case::Case;
use super::truth::{Truth, violation_of};

/// At the utilisation ρ and the service time D, the mean waiting time of an M/D/1 queue is ρD / (2(1 - ρ)).
#[test]
fn the_mean_of_an_m_d_1_queue_is_measured() {
    let theory = |load: f64| SERVICE_NS + load * SERVICE_NS / (2.0 * (1.0 - load));
    compare("M/D/1", Times::Constant(SERVICE_NS as u64), theory);
}

/// At the utilisation ρ and the mean service time S, the mean response time of an M/M/1 queue is S / (1 - ρ).
#[test]
fn the_mean_of_an_m_m_1_queue_is_measured() {
    let times = Times::Exponential {
        mean_ns: SERVICE_NS,
        seed: 14,
    };
    compare("M/M/1", times, |load| SERVICE_NS / (1.0 - load));
}

fn compare(name: &str, times: Times, theory: impl Fn(f64) -> f64) {
    for load in [0.5, 0.8, 0.95] {
        let rate = load * 1e9 / SERVICE_NS;
        let mut case = Case::simple();
        case.settings.server = Some(Behaviour::Queue(times));
        // Calls that cost nothing: the generator adds nothing to the times, and is never late.
        case.settings.costs = Costs::all(0);
        case.settings.message = 16;
        case.plan.connections = 10;
        case.plan.pipeline = 10_000;
        case.plan.rate = Some(rate);
        case.plan.arrivals = Arrivals::Poisson;
        case.plan.timeout = Duration::from_secs(60);
        case.plan.warmup = Duration::from_secs(20);
        case.plan.until = Until::Elapsed(Duration::from_secs_f64(MESSAGES as f64 / rate));
        let outcome = case.run().unwrap();
        assert_eq!(violation_of(&case, &outcome), None);
        let recording = &outcome.recording;
        assert_eq!(recording.counts.errors, 0);
        assert_eq!(recording.lateness.max(), 0);

        let truth = Truth::of(&case, &outcome.ledger);
        let responses: Vec<f64> = truth
            .responses_ns
            .iter()
            .map(|(_, ns)| *ns as f64)
            .collect();
        let error_ns = standard_error(&responses);
        let (measured_ns, expected_ns) = (recording.response.mean(), theory(load));
        let errors = (measured_ns - expected_ns) / error_ns;
        let said = format!(
            "{name} at load {load}: {} messages, measured {:.4} ms, theory {:.4} ms, standard error {:.4} ms: \
             {errors:+.2} standard errors apart",
            responses.len(),
            measured_ns / 1e6,
            expected_ns / 1e6,
            error_ns / 1e6
        );
        println!("{said}");
        assert!(errors.abs() <= 3.0, "{said}");
    }
}

/// Returns the standard error of the mean, by batch means.
fn standard_error(values: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let means: Vec<f64> = values
        .chunks_exact(values.len() / BATCHES)
        .map(mean)
        .collect();
    let all = mean(&means);
    let squares: f64 = means.iter().map(|batch| (batch - all).powi(2)).sum();
    (squares / (means.len() - 1) as f64 / means.len() as f64).sqrt()
}

const SERVICE_NS: f64 = 1e6;

const BATCHES: usize = 40;

const MESSAGES: u64 = 1_000_000;
