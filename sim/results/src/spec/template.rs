//! A commented spec file: every key with its default, unit and choices.

/// What `djinn new FILE` writes. Read back as it is, it gives the defaults; keys without a default are
/// there as comments.
pub fn template() -> &'static str {
    include_str!("template.toml")
}
