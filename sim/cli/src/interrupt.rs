//! Ctrl-C in a verb that goes on with what is there.

/// From now on SIGINT says that finished runs are kept, and then ends the program, as it would have anyway.
#[cfg(unix)]
pub fn say_what_is_kept() {
    use signal_hook::consts::SIGINT;
    // Without it the signal ends the program without a word.
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT]) else {
        return;
    };
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            crate::out::note(
                "\ninterrupted: runs that were finished are kept, and the same command goes on with the others",
            );
            let _ = signal_hook::low_level::emulate_default_handler(SIGINT);
        }
    });
}

#[cfg(not(unix))]
pub fn say_what_is_kept() {}
