//! The jobs of `deploy/slurm` on a real Slurm. The cluster is made by `tests/slurm/run.py`, which checks the reports.

use std::path::Path;
use std::process::{Command, Stdio};

/// Returns true if the programs of Slurm and munge are installed.
pub(crate) fn slurm_works() -> bool {
    let programs = ["slurmctld", "slurmd", "srun", "sbatch", "munged"];
    programs.into_iter().all(|program| {
        let found = Command::new("sh")
            .args(["-c", "command -v \"$0\"", program])
            .stdout(Stdio::null())
            .status();
        found.is_ok_and(|status| status.success())
    })
}

pub(crate) fn four_hosts_measure_together() {
    let output = Command::new("python3")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slurm/run.py"))
        .arg(env!("CARGO_BIN_EXE_mio-echo"))
        .output()
        .unwrap();
    let (printed, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{printed}{said}");
    println!("{printed}");
}
