//! Runs files and folders through the targets without libFuzzer: `replay reader|json PATH…`. For coverage, and to look at an
//! input that failed.

use std::path::{Path, PathBuf};
use std::process::exit;
use std::{env, fs, io};

#[global_allocator]
static LIMIT: fuzz::Limit = fuzz::Limit;

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let run = match arguments.next().as_deref() {
        Some("reader") => fuzz::reader::run,
        Some("json") => fuzz::json::run,
        _ => {
            eprintln!("usage: replay reader|json PATH...");
            exit(2);
        }
    };
    let mut count = 0_usize;
    for path in arguments.map(PathBuf::from) {
        for file in files(&path)? {
            run(&fs::read(file)?);
            count += 1;
        }
    }
    println!("{count} inputs");
    Ok(())
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    fs::read_dir(path)?.map(|entry| entry.map(|e| e.path())).collect()
}
