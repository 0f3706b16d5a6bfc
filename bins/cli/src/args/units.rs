//! Times, moments and sizes as they are written on the command line.

use crate::text;
use kiln::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The present moment.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Reads a time such as `90s`, `10m`, `2h` or `30d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const FORM: &str = "write a number with s, m, h or d, such as 10m";
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(FORM.into()),
    };
    let number: u64 = number.parse().map_err(|_| FORM)?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "that is too long".into())
}

/// Reads a moment: how long ago, or in UTC as RFC 3339 has it.
pub(super) fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = duration(text) {
        let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        return Ok(Timestamp(now().0.saturating_sub(ago)));
    }
    text::read_moment(text)
        .ok_or_else(|| "write how long ago, such as 10m, or 2026-01-31T12:00:00Z".into())
}

/// Reads a size such as `500MB`, `2GiB` or a number of bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    const FORM: &str = "write a number with B, kB, MB, GB, KiB, MiB or GiB, such as 500MB";
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(FORM.into()),
    };
    let number: u64 = number.parse().map_err(|_| FORM)?;
    number.checked_mul(factor).ok_or_else(|| "that is too much".into())
}

/// Reads a number of minutes, such as `25` or `0.5`.
pub(super) fn minutes(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map(|minutes| minutes * 60.0);
    let time = seconds.ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| !time.is_zero())
        .ok_or_else(|| "write a number of minutes above 0, such as 25 or 0.5".into())
}

/// Reads a pair such as `NAME=VALUE`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for bad in ["", "m", "5x", "-1s", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn moments_are_read_in_two_ways() {
        assert_eq!(since("1970-01-02"), Ok(Timestamp(86_400_000)));
        let hour = since("1h").unwrap();
        assert!(now().since(hour) >= Duration::from_secs(3600));
        assert!(since("yesterday").is_err());
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(size("500MB"), Ok(500_000_000));
        assert_eq!(size("2GiB"), Ok(2 << 30));
        assert_eq!(size("7"), Ok(7));
        for bad in ["", "MB", "1 MB", "-1", "99999999999GB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn minutes_may_have_a_fraction() {
        assert_eq!(minutes("25"), Ok(Duration::from_secs(1500)));
        assert_eq!(minutes("0.5"), Ok(Duration::from_secs(30)));
        for bad in ["", "0", "-1", "5m", "nan", "inf", "1e300"] {
            assert!(minutes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pairs_have_a_name() {
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(pair("a").is_err() && pair("=b").is_err());
    }
}
