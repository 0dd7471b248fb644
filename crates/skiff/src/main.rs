//! The `skiff` program: its arguments go to the command line, or to the OCI runtime's.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(std::env::args_os().collect())
}
