//! The two streams: data to stdout, everything else to stderr.

use crate::error::CliError;
use lab::Renewed;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

/// Writes data. A reader that has gone away (`djinn show RUN | head`) ends the program quietly.
///
/// # Errors
/// If stdout cannot be written, for example because the disk is full.
pub fn stdout(text: &str) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    written.map_err(|cause| match cause.kind() {
        ErrorKind::BrokenPipe => CliError::Unread,
        _ => CliError::failed(format!("cannot write to stdout: {cause}")),
    })
}

/// Writes what is not data. Where even that cannot be written, there is nobody to tell.
pub fn stderr(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Says something that the user should know and that ends nothing.
pub fn warn(text: &str) {
    stderr(&format!("warning: {text}\n"));
}

/// Says where things are.
pub fn note(text: &str) {
    stderr(&format!("{text}\n"));
}

/// Says which results that were there were not taken up, if any.
pub fn renewed(renewed: &Renewed) {
    if renewed.runs > 0 {
        note(&renewed.to_string());
    }
}

/// Whether a person may be watching stderr.
pub fn stderr_is_a_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether colours are welcome (<https://no-color.org>).
pub fn colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
