//! `image bootstrap`: an image straight from an archive of Debian or Ubuntu, without any registry.
//!
//! ```text
//! keyring ─► Release (signed) ─► Packages (sums) ─► selection ─► package files (sums), kept in <root>/cache/debian
//!                                                                    │
//!              distroless: files of all packages, and what their scripts would have made that matters
//!              minbase: files of the base ─► dpkg installs all in a container without a network ─► what that left, tidied
//!                                                                    ▼
//!                                                 one tree, sorted, no time later than that of the archive ─► layer ─► name
//! ```
//!
//! Equal inputs (archive, packages, flags, version of Skiff) give an equal digest: members are sorted, times are clamped to
//! the date of the newest Release file, or to `SOURCE_DATE_EPOCH`, which is also when the image was made.
//!
//! **What is verified.** The Release file by its signature, its dates, and its name; every index by the size and the SHA-256 that it
//! gives; every package file by those of its index. So plain HTTP is as good as HTTPS but for who is watching.
//!
//! **Maintainer scripts.** In the variant `distroless` none runs, and what they alone need is left out: see [`distroless`]. In
//! `minbase` all run, by the release's own dpkg and as it orders them, in a container of ours: see [`minbase`].

mod archive;
mod distroless;
mod error;
mod fetch;
mod minbase;
mod package;
mod pool;
mod room;
mod sbom;
mod sources;
mod tree;

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use debian::{Base, Package, Universe, Wanted, resolve};
use image::ImportOptions;
use linux::file;
use linux::thread::spawn_scoped;
use oci::{Platform, Timestamp};
use registry_client::Client;

use crate::images::{failed, parse_tag};
use crate::info::LoadedImage;
use crate::request::{Bootstrap, Variant};
use crate::{Engine, Error, Result};

pub use error::BootstrapError;
use error::BootstrapError as Failure;
use sources::Plan;
use tree::Tree;

/// Something that was selected, with its file.
struct Chosen<'u> {
    package: &'u Package<'u>,
    /// The verified package file.
    path: PathBuf,
}

impl Engine {
    /// Makes an image from packages. `progress` is told each step, a sentence each.
    pub fn bootstrap(
        &self,
        client: &Client,
        request: &Bootstrap,
        progress: &mut dyn FnMut(&str),
    ) -> Result<LoadedImage> {
        let reference = parse_tag(request.tag.as_deref().unwrap_or(&request.system))?;
        let now = state::now().seconds();
        let plan = Plan::new(request)?;
        if request.variant == Variant::Minbase
            && Some(plan.architecture.as_str()) != architecture_of(&Platform::host().normalized())
        {
            return Err(Failure::ForeignScripts { platform: plan.platform.to_string() }.into());
        }
        let keyring = archive::keyring(&plan.keyring)?;
        let fetcher = fetch::Fetcher::new(client);
        let mut indexes = Vec::new();
        let mut newest = i64::MIN;
        for (number, source) in plan.sources.iter().enumerate() {
            progress(&format!("Reading {source}"));
            let suite = archive::read(&fetcher, source, &plan, &keyring, now)?;
            newest = newest.max(suite.date);
            indexes.extend(suite.indexes.into_iter().map(|index| (number, index)));
        }
        let mut universe = Universe::default();
        for (number, index) in &indexes {
            universe
                .add(&index.text, &plan.architecture, *number)
                .map_err(|source| Failure::Index { url: index.url.clone(), source })?;
        }
        let named = distroless::wanted(&request.packages);
        let wanted = match request.variant {
            Variant::Minbase => Wanted {
                packages: &request.packages,
                base: Base::Minimal,
                omit: &debian::nothing_omitted,
                prefer: &minbase::PREFERRED,
            },
            Variant::Distroless => Wanted {
                packages: &named,
                base: Base::None,
                omit: &distroless::is_for_scripts,
                prefer: &minbase::PREFERRED,
            },
        };
        let selection = resolve(&universe, wanted).map_err(Failure::Unresolved)?;
        let packages: Vec<&Package<'_>> =
            selection.packages.iter().map(|at| &universe.packages()[*at]).collect();
        let bytes: u64 = packages.iter().map(|package| package.size).sum();
        progress(&format!("Fetching {} packages, {} bytes", packages.len(), bytes));
        let mut pool = pool::Pool::open(&self.package_folder())?;
        if pool.is_alone() {
            self.remove_unfinished()?;
            pool.share()?;
        }
        let paths = pool.fetch(&fetcher, &plan.sources, &packages)?;
        let chosen: Vec<Chosen<'_>> =
            packages.iter().zip(paths).map(|(package, path)| Chosen { package, path }).collect();
        let made = made_at(request, newest, now)?;
        progress("Laying out files");
        let mut tree = Tree::new(&self.config.root.join("tmp"), &plan.architecture)?;
        let changes = match request.variant {
            Variant::Distroless => distroless::lay_out(&mut tree, &chosen, made)?,
            Variant::Minbase => {
                let parts = minbase::Parts::new(&selection, &universe, &chosen);
                minbase::lay_out(&mut tree, &parts)?;
                progress("Running the scripts of packages");
                tree = self.configured(&tree, &parts, (pool.folder(), request.timeout), &plan, made)?;
                minbase::tidy(&mut tree, &plan, &chosen, made)?
            }
        };
        let image = self.import_tree(&tree, &plan, &changes, made, Some(reference))?;
        pool.trim();
        Ok(image)
    }

    /// Makes the image of a tree, and names it.
    fn import_tree(
        &self,
        tree: &Tree,
        plan: &Plan,
        changes: &[String],
        made: Timestamp,
        reference: Option<oci::Reference>,
    ) -> Result<LoadedImage> {
        let options = ImportOptions {
            changes: changes.to_vec(),
            message: format!("Bootstrapped from {}", plan.described()),
            platform: Some(plan.platform.clone()),
            created: made,
            name: "the layer of packages".to_owned(),
            attached: sbom::attached(tree).into_iter().collect(),
        };
        let (mut reader, writer) = std::io::pipe().map_err(Failure::Stream)?;
        let mut loaded = std::thread::scope(|scope| {
            let writing = spawn_scoped(scope, "write the layer of packages", move || {
                let mut out = BufWriter::with_capacity(1 << 20, writer);
                tree.write(&mut out, made.seconds()).and_then(|()| out.flush())
            })?;
            let imported =
                image::import(&self.store, &mut reader, &options).map_err(failed("store the packages"));
            // A writer that nobody reads any more must not wait for ever.
            drop(reader);
            let written = writing.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()));
            match (imported, written) {
                // What could not be written is no whole archive, so nothing was stored.
                (Err(error), Ok(())) => Err(error),
                (Err(_), Err(source)) | (Ok(_), Err(source)) => Err(Failure::Stream(source).into()),
                (Ok(loaded), Ok(())) => Ok(loaded),
            }
        })?;
        for image in &mut loaded.images {
            image.references.extend(reference.clone());
        }
        let named = loaded.images.first().map(|image| self.name(image, "import"));
        drop(loaded.hold);
        named.unwrap_or_else(|| Err(Error::NoSuchImage { name: options.name }))
    }
}

/// When the image is said to have been made; no file in it is younger.
fn made_at(request: &Bootstrap, newest: i64, now: i64) -> std::result::Result<Timestamp, Failure> {
    let seconds = request.source_date_epoch.unwrap_or(newest);
    if seconds > now {
        // Then some times would be those of files, and others those of this run.
        return Err(Failure::FutureEpoch { seconds });
    }
    Timestamp::new(seconds, 0).ok_or(Failure::FutureEpoch { seconds })
}

/// The folder where whatever is made here without a name lies.
fn spool(tmp: &std::path::Path) -> std::result::Result<std::fs::File, Failure> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let opened = rustix::fs::open(tmp, flags, Mode::RUSR | Mode::WUSR);
    file::Named::named(opened, "make a file in", tmp).map(Into::into).map_err(Failure::File)
}

/// The name that Debian gives to what a platform names.
fn architecture_of(platform: &Platform) -> Option<&'static str> {
    let variant = platform.variant.as_str();
    Some(match (platform.os.as_str(), platform.architecture.as_str(), variant) {
        ("linux", "amd64", _) => "amd64",
        ("linux", "arm64", _) => "arm64",
        ("linux", "arm", "v5" | "v6") => "armel",
        ("linux", "arm", _) => "armhf",
        ("linux", "386", _) => "i386",
        ("linux", "ppc64le", _) => "ppc64el",
        ("linux", "s390x", _) => "s390x",
        ("linux", "riscv64", _) => "riscv64",
        ("linux", "mips64le", _) => "mips64el",
        ("linux", "loong64", _) => "loong64",
        _ => return None,
    })
}
