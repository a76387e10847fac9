//! Generated tables inside a page that people write.

use std::fs;
use std::path::PathBuf;

/// Compares the block called `name` in `docs/workloads.md` with `table`, or replaces it if `DJINN_BLESS` is set.
pub fn check(name: &str, table: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/workloads.md");
    let page = fs::read_to_string(&path).unwrap();
    let (begin, end) = (
        format!("<!-- {name}: generated -->\n"),
        format!("<!-- {name}: end -->"),
    );
    let from = page.find(&begin).expect("the page has the block") + begin.len();
    let to = from + page[from..].find(&end).expect("the block ends");
    if std::env::var_os("DJINN_BLESS").is_some() {
        fs::write(&path, format!("{}{table}{}", &page[..from], &page[to..])).unwrap();
        return;
    }
    assert!(
        page[from..to] == *table,
        "docs/workloads.md is not what the code measures; set DJINN_BLESS=1 to write the table"
    );
}
