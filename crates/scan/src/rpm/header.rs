//! The header of an installed package.
//!
//! ```text
//! count of entries, bytes of data       4 bytes each, big-endian
//! entries                               tag, type, offset in the data, count: 4 bytes each
//! data
//! ```

use crate::bytes::{Order, index, part};
use crate::package::{license, supplier};
use crate::{Kind, Origin, Package};

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const VENDOR: u32 = 1011;
const LICENSE: u32 = 1014;
const ARCHITECTURE: u32 = 1022;
const SOURCE: u32 = 1044;

/// The most entries of a header.
const ENTRIES: usize = 1 << 16;

/// The package that a header is of; none if it is damaged, or a key that packages are signed with.
pub(super) fn package(bytes: &[u8]) -> Option<Package> {
    let count = index(Order::Big.u32(bytes, 0)?)?;
    let length = index(Order::Big.u32(bytes, 4)?)?;
    if count > ENTRIES {
        return None;
    }
    let entries = part(bytes, 8, count * 16)?;
    let data = part(bytes, 8 + count * 16, length)?;
    let field = |tag: u32| {
        let row = entries.chunks_exact(16).find(|row| Order::Big.u32(row, 0) == Some(tag))?;
        Some((Order::Big.u32(row, 4)?, data.get(index(Order::Big.u32(row, 8)?)?..)?))
    };
    let text = |tag: u32| {
        // A text, or several, of which the first is the one that is not translated.
        let (kind, data) = field(tag)?;
        let text = data.split(|byte| *byte == 0).next().filter(|_| matches!(kind, 6 | 8 | 9))?;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    let number =
        |tag: u32| field(tag).filter(|(kind, _)| *kind == 4).and_then(|(_, data)| Order::Big.u32(data, 0));
    let (name, version, release) = (text(NAME)?, text(VERSION)?, text(RELEASE)?);
    if name == "gpg-pubkey" {
        return None;
    }
    let epoch = number(EPOCH).filter(|epoch| *epoch > 0).map(|epoch| format!("{epoch}:")).unwrap_or_default();
    let full = format!("{epoch}{version}-{release}");
    Some(Package {
        architecture: text(ARCHITECTURE),
        origin: text(SOURCE).filter(|name| !name.is_empty()).map(|name| Origin { name, version: None }),
        license: text(LICENSE).as_deref().and_then(license),
        supplier: text(VENDOR).as_deref().and_then(supplier),
        ..Package::new(Kind::Rpm, &name, &full)
    })
}
