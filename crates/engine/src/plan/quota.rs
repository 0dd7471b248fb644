//! How much a container may write (`--storage-opt size=`).

use crate::request::{HostOptions, parse_bytes};
use crate::{Error, Result};

/// Bytes that a container may write into its own layer; None is no limit. What names nothing, or no size that can be had,
/// is refused.
pub(crate) fn quota(host: &HostOptions) -> Result<Option<u64>> {
    let mut size = None;
    for (name, text) in &host.storage {
        if !name.eq_ignore_ascii_case("size") {
            return Err(Error::UnknownStorageOption { name: name.chars().take(80).collect() });
        }
        size = match u64::try_from(parse_bytes(text)?) {
            Ok(0) => None,
            Ok(bytes @ ext4::MIN_BYTES..=ext4::MAX_BYTES) => Some(bytes),
            Ok(_) | Err(_) => return Err(Error::QuotaSize { text: text.chars().take(80).collect() }),
        };
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[(&str, &str)]) -> std::result::Result<Option<u64>, String> {
        let storage = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        quota(&HostOptions { storage, ..HostOptions::default() }).map_err(|error| error.to_string())
    }

    #[test]
    fn sizes_are_those_that_can_be_had() {
        for (text, size) in [
            ("10G", Some(10 << 30)),
            ("1m", Some(1 << 20)),
            ("1.5gb", Some(3 << 29)),
            ("15t", Some(15 << 40)),
            ("0", None),
        ] {
            assert_eq!(read(&[("size", text)]), Ok(size), "{text}");
        }
        assert_eq!(read(&[("SIZE", "2m")]), Ok(Some(2 << 20)));
        assert_eq!(read(&[]), Ok(None));
        for wrong in ["1023k", "-1", "16t", "1"] {
            let refused = read(&[("size", wrong)]).unwrap_err();
            assert!(refused.contains(wrong) && refused.contains("at least 1m"), "{refused}");
        }
        assert!(read(&[("size", "much")]).unwrap_err().contains("much"));
        assert_eq!(
            read(&[("dm.basesize", "1g")]).unwrap_err(),
            "unknown storage option: dm.basesize: only size is known"
        );
    }
}
