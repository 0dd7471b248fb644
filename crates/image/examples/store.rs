//! Works on a store without an engine: measures loading, and shows what an archive holds.
//!
//! ```text
//! store ROOT load FILE|-       load an archive
//! store ROOT import FILE|-     import a root file system
//! store ROOT save IMAGE FILE   save an image by its id
//! store ROOT verify IMAGE      check an image
//! store ROOT bare FILE         only decompress, hash, write and sync: what loading is compared with
//! ```
#![allow(clippy::print_stdout, reason = "an example reports to the terminal")]
#![allow(clippy::disallowed_methods, reason = "its files are those that it was told")]

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::time::{Instant, SystemTime};

use image::{ImportOptions, LoadOptions, Loaded, SavedImage, Source, Store};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let begin = Instant::now();
    match words.as_slice() {
        [root, "load", "-"] => show(&image::load(
            &Store::open(Path::new(root))?,
            Source::Stream(&mut std::io::stdin()),
            &LoadOptions::default(),
        )?),
        [root, "load", file] => show(&image::load(
            &Store::open(Path::new(root))?,
            Source::Path(Path::new(file)),
            &LoadOptions::default(),
        )?),
        [root, "import", file] => {
            let options = ImportOptions {
                changes: vec!["CMD [\"/bin/sh\"]".to_owned()],
                message: format!("Imported from {file}"),
                platform: None,
                created: SystemTime::now().into(),
                name: (*file).to_owned(),
                attached: Vec::new(),
            };
            let mut source: Box<dyn Read + Send> =
                if *file == "-" { Box::new(std::io::stdin()) } else { Box::new(File::open(file)?) };
            show(&image::import(&Store::open(Path::new(root))?, &mut source, &options)?);
        }
        [root, "save", id, file] => {
            let image = SavedImage {
                id: id.parse()?,
                references: vec!["example:latest".parse()?],
                platforms: Vec::new(),
                through: None,
            };
            let mut out = BufWriter::new(File::create(file)?);
            image::save(&Store::open(Path::new(root))?, &[image], &mut out)?;
            out.flush()?;
        }
        [root, "verify", id] => {
            for finding in image::verify(&Store::open(Path::new(root))?, &id.parse()?, None)? {
                println!("{finding}");
            }
        }
        [root, "bare", file] => bare(Path::new(root), Path::new(file))?,
        _ => return Err("usage: store ROOT load|import|save|verify|bare …".into()),
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("{:.3} s, {peak}", begin.elapsed().as_secs_f64());
    Ok(())
}

fn show(loaded: &Loaded) {
    for image in &loaded.images {
        println!("{} {} {:?} {} layers", image.id, image.platform(), image.references, image.layers.len());
    }
}

/// One thread, one pass, no checks.
fn bare(root: &Path, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let file = std::io::BufReader::with_capacity(256 << 10, File::open(path)?);
    let mut reader: Box<dyn Read> = match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Box::new(flate2::bufread::GzDecoder::new(file)),
        Some("zst") => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        _ => Box::new(file),
    };
    std::fs::create_dir_all(root)?;
    let mut out = File::create(root.join("bare.tar"))?;
    let mut hasher = oci::Hasher::sha256();
    let mut buffer = vec![0; 256 << 10];
    let (mut read, mut hash, mut write) = (0.0, 0.0, 0.0);
    loop {
        let start = Instant::now();
        let mut filled = 0;
        while filled < buffer.len() {
            match reader.read(&mut buffer[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        read += start.elapsed().as_secs_f64();
        if filled == 0 {
            break;
        }
        let start = Instant::now();
        hasher.update(&buffer[..filled]);
        hash += start.elapsed().as_secs_f64();
        let start = Instant::now();
        out.write_all(&buffer[..filled])?;
        write += start.elapsed().as_secs_f64();
    }
    let start = Instant::now();
    out.sync_all()?;
    let sync = start.elapsed().as_secs_f64();
    println!("{} read+decompress {read:.3} hash {hash:.3} write {write:.3} sync {sync:.3}", hasher.finish());
    Ok(())
}
