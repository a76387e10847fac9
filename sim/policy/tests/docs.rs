//! `docs/policies.md` is what the registry says. `POLICIES_UPDATE=1` writes it anew, as does `djinn policies --markdown`.

use std::path::Path;

#[test]
fn the_page_in_docs_is_what_the_registry_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/policies.md");
    let fresh = policy::page();
    if std::env::var_os("POLICIES_UPDATE").is_some() {
        std::fs::write(&path, &fresh).expect("docs/ is there");
    }
    let page = std::fs::read_to_string(&path).expect("docs/policies.md is there");
    let differs = page
        .lines()
        .zip(fresh.lines())
        .find(|(old, new)| old != new);
    assert!(
        page == fresh,
        "docs/policies.md is stale; `djinn policies --markdown > docs/policies.md` writes it anew. First difference: {differs:?}"
    );
}
