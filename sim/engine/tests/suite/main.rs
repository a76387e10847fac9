mod accounts;
mod common;
mod random;
