//! Numbers as people read them.

/// A whole number with commas: `11,170,250`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number with this many decimals and a true minus sign; a dash for what is no number.
pub fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{:.decimals$}", value.abs());
    let zero = text.chars().all(|c| c == '0' || c == '.');
    if value < 0.0 && !zero { format!("−{text}") } else { text }
}

/// A fraction in per cent, `99.2%`. What is not quite everything is never shown as 100%, nor what is not quite
/// nothing as 0%.
pub fn percent(fraction: f64, decimals: usize) -> String {
    if !fraction.is_finite() {
        return "–".to_owned();
    }
    let unit = 10_f64.powi(decimals as i32);
    let mut rounded = (fraction * 100.0 * unit).round() / unit;
    if fraction < 1.0 && rounded >= 100.0 {
        rounded = 100.0 - 1.0 / unit;
    }
    if fraction > 0.0 && rounded <= 0.0 {
        return format!("<{}%", fixed(1.0 / unit, decimals));
    }
    format!("{}%", fixed(rounded, decimals))
}

/// A time span: `42 s`, `3 min 05 s`, `2 h 10 min`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "–".to_owned();
    }
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([0, 999, 1000, 11_170_250].map(count), ["0", "999", "1,000", "11,170,250"]);
        assert_eq!(fixed(-0.004, 2), "0.00");
        assert_eq!(fixed(-1.5, 1), "−1.5");
        assert_eq!(fixed(f64::NAN, 1), "–");
        assert_eq!([0.5, 9.96, 65.0, 7800.0].map(duration), ["0.5 s", "10.0 s", "1 min 05 s", "2 h 10 min"]);
    }

    #[test]
    fn almost_all_is_not_all_and_almost_nothing_is_not_nothing() {
        assert_eq!(percent(1.0, 1), "100.0%");
        assert_eq!(percent(0.99999, 1), "99.9%");
        assert_eq!(percent(0.0, 1), "0.0%");
        assert_eq!(percent(0.0001, 1), "<0.1%");
        assert_eq!(percent(0.9923, 2), "99.23%");
    }
}
