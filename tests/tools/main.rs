//! Tests that need a tool: strace (injects errors into system calls), network and mount namespaces, sockets that vanish
//! without a packet (`TCP_REPAIR`), and a browser for the pages of the reports.
//!
//! `cargo test` needs nothing but a Rust toolchain. If a test's tool is missing, the test is reported as ignored,
//! with the reason. With `MIO_ECHO_ALL_TOOLS` set, as in CI, it fails instead.

#[cfg(target_os = "linux")]
#[path = "../common/mod.rs"]
mod common;

#[cfg(target_os = "linux")]
mod browser;
#[cfg(all(target_os = "linux", feature = "check"))]
mod check_page;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod injected;
#[cfg(target_os = "linux")]
mod owners;
#[cfg(target_os = "linux")]
mod page;
#[cfg(target_os = "linux")]
mod ports;
#[cfg(all(target_os = "linux", feature = "metrics"))]
mod site;
#[cfg(all(target_os = "linux", feature = "load"))]
mod slurm;
#[cfg(target_os = "linux")]
mod units;
#[cfg(target_os = "linux")]
mod vanished;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

/// The tool or permission that a test needs.
#[derive(Clone, Copy)]
enum Needs {
    /// strace, and the permission to trace a process.
    Strace,
    /// `ip` from iproute2, and the permission to make a network namespace.
    Namespace,
    /// The permission to mount a file system in a namespace.
    Mounts,
    /// The permission to put a TCP socket into repair mode.
    Repair,
    /// Chromium.
    Browser,
    /// Slurm's daemons and commands, munge, and the permission to make a network namespace.
    #[cfg(feature = "load")]
    Slurm,
    /// Prometheus and promtool.
    #[cfg(feature = "metrics")]
    Prometheus,
    /// `systemd-analyze`.
    Systemd,
}

impl Needs {
    /// Returns what is missing here and how to get it, or `None` if the test can run.
    #[cfg(target_os = "linux")]
    fn missing(self) -> Option<&'static str> {
        match self {
            Needs::Strace if !injected::strace_works() => {
                Some("strace is missing, or not permitted to trace: apt-get install strace")
            }
            Needs::Namespace if !vanished::namespaces_work() => {
                Some("cannot create a network namespace: run as root, apt-get install iproute2")
            }
            Needs::Mounts if !disk::mounts_work() => {
                Some("cannot mount a file system: run as root")
            }
            Needs::Repair if !vanished::repair_works() => {
                Some("TCP_REPAIR is not permitted: run as root")
            }
            Needs::Systemd if !units::systemd_works() => {
                Some("systemd-analyze is missing: apt-get install systemd")
            }
            #[cfg(feature = "metrics")]
            Needs::Prometheus if !site::prometheus_works() => {
                Some("Prometheus is missing: apt-get install prometheus")
            }
            #[cfg(feature = "load")]
            Needs::Slurm if !(slurm::slurm_works() && vanished::namespaces_work()) => Some(
                "Slurm is missing, or no network namespace can be made: run as root, \
                 apt-get install slurmctld slurmd slurm-client munge iproute2",
            ),
            Needs::Browser if !browser::browser_works() => {
                Some("Chromium is missing: apt-get install chromium")
            }
            _ => None,
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn missing(self) -> Option<&'static str> {
        Some("this test needs Linux")
    }
}

/// Makes a test that is ignored if its tool is missing.
fn trial(name: &str, needs: Needs, test: fn()) -> Trial {
    let missing = needs.missing();
    let insist = std::env::var_os("MIO_ECHO_ALL_TOOLS").is_some();
    if let Some(missing) = missing {
        eprintln!("{name}: {missing}");
    }
    Trial::test(name, move || {
        if let Some(missing) = missing {
            return Err(Failed::from(missing));
        }
        catch_unwind(AssertUnwindSafe(test)).map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            Failed::from(text.unwrap_or_else(|| "the test panicked".to_owned()))
        })
    })
    .with_ignored_flag(missing.is_some() && !insist)
}

/// Lists tests by the names of their functions, grouped by what they need.
macro_rules! trials {
    ($($needs:ident { $($module:ident::$test:ident,)+ })+) => {
        vec![$($(trial(
            concat!(stringify!($module), "::", stringify!($test)),
            Needs::$needs,
            $module::$test,
        ),)+)+]
    };
}

fn main() -> ExitCode {
    let trials = [of_linux(), of_epoll(), of_check(), of_metrics(), of_slurm()]
        .into_iter()
        .flatten()
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

#[cfg(target_os = "linux")]
fn of_linux() -> Vec<Trial> {
    trials! {
        Strace {
            injected::accept_pauses_and_tries_again_after_a_shortage,
            injected::accept_goes_on_at_once_after_a_lost_connection,
            injected::accept_that_fails_for_ever_neither_spins_nor_floods,
            injected::an_interrupted_poll_is_no_error,
            injected::a_port_below_1024_without_the_privilege_is_a_clear_error,
            injected::an_interrupt_during_the_start_is_not_lost,
            owners::one_of_two_servers_that_start_at_once_owns_the_path,
            owners::one_of_two_servers_that_run_freely_owns_the_path,
            owners::a_lock_file_that_its_owner_removed_is_not_taken,
            owners::a_server_owns_its_path_until_its_lock_file_is_removed,
            owners::the_mode_is_set_between_bind_and_listen,
            units::one_loop_that_hangs_is_enough_to_stop_the_watchdog,
        }
        Namespace {
            vanished::a_peer_that_vanishes_with_output_pending_is_reaped,
            vanished::a_link_that_comes_back_loses_nothing,
            ports::ports_that_are_used_up_are_the_clients_own_limit,
            ports::on_loopback_further_addresses_are_used_when_ports_run_short,
            ports::several_sources_have_as_many_ports_each,
        }
        Mounts {
            disk::a_full_disk_stops_nothing_and_missing_lines_are_counted,
        }
        Systemd {
            units::the_units_are_valid_and_hardened,
        }
        Repair {
            vanished::a_peer_that_vanishes_while_idle_is_reaped,
        }
        Browser {
            page::a_run_is_shown_with_its_figures_and_without_the_network,
            page::sweeps_and_comparisons_are_shown,
            page::two_saved_reports_are_compared_on_a_page,
            page::the_test_notices_a_page_that_loads_a_file,
            page::a_phone_needs_no_sideways_scrolling,
            page::the_smallest_text_on_a_phone_has_twelve_pixels,
            page::light_dark_and_print_are_drawn,
        }
    }
}

/// Tests about the system calls of epoll.
#[cfg(all(target_os = "linux", not(mio_unsupported_force_poll_poll)))]
fn of_epoll() -> Vec<Trial> {
    trials! {
        Strace {
            injected::a_failed_registration_closes_only_its_connection,
            injected::a_small_message_costs_two_calls_and_a_share_of_the_poll,
        }
    }
}

/// Tests of `mio-echo check`.
#[cfg(all(target_os = "linux", feature = "check"))]
fn of_check() -> Vec<Trial> {
    trials! {
        Browser {
            check_page::a_grid_is_shown_without_the_network,
            check_page::the_survival_grid_is_shown_without_the_network,
        }
    }
}

/// Tests of the jobs in `deploy/slurm`.
#[cfg(all(target_os = "linux", feature = "load"))]
fn of_slurm() -> Vec<Trial> {
    trials! {
        Slurm {
            slurm::four_hosts_measure_together,
        }
    }
}

#[cfg(not(all(target_os = "linux", feature = "load")))]
fn of_slurm() -> Vec<Trial> {
    Vec::new()
}

/// Tests of `--metrics`.
#[cfg(all(target_os = "linux", feature = "metrics"))]
fn of_metrics() -> Vec<Trial> {
    trials! {
        Browser {
            site::the_page_draws_the_numbers_of_the_server,
            site::the_page_fits_a_phone_and_has_light_and_dark,
        }
        Prometheus {
            site::prometheus_reads_the_server,
            site::the_alert_rules_pass_their_tests,
        }
    }
}

#[cfg(not(all(target_os = "linux", feature = "metrics")))]
fn of_metrics() -> Vec<Trial> {
    Vec::new()
}

#[cfg(not(target_os = "linux"))]
fn of_linux() -> Vec<Trial> {
    Vec::new()
}

#[cfg(not(all(target_os = "linux", not(mio_unsupported_force_poll_poll))))]
fn of_epoll() -> Vec<Trial> {
    Vec::new()
}

#[cfg(not(all(target_os = "linux", feature = "check")))]
fn of_check() -> Vec<Trial> {
    Vec::new()
}
