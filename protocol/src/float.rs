//! Floats as Python's `repr` prints them.
//!
//! Owns the layout only. The digits are the shortest that read back as the same double; of two that are
//! equally short and equally near, Python takes the even one, and so does `zmij` (the standard library's
//! formatting does not).

use std::fmt::Write;

/// Appends a finite double: fixed notation for exponents -4..16, otherwise with a sign and two digits or
/// more in the exponent; a whole number keeps `.0`.
pub(crate) fn write_repr(out: &mut String, number: f64) {
    if number.is_sign_negative() {
        out.push('-');
    }
    let number = number.abs();
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(number);
    // Within these bounds both print the same digits in the same notation, where zmij chose the fixed one.
    if (1e-4..1e16).contains(&number) && text.bytes().all(|byte| byte != b'e') && text.contains('.') {
        return out.push_str(text);
    }
    let (digits, exponent) = shortest(text);
    match exponent {
        0..16 => write_whole(out, &digits, exponent.unsigned_abs() as usize),
        -4..0 => {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', exponent.unsigned_abs() as usize - 1));
            out.push_str(&digits);
        }
        _ => {
            let (first, rest) = digits.split_at(1);
            out.push_str(first);
            if !rest.is_empty() {
                out.push('.');
                out.push_str(rest);
            }
            let sign = if exponent < 0 { '-' } else { '+' };
            let _ = write!(out, "e{sign}{:02}", exponent.unsigned_abs());
        }
    }
}

/// The significant digits of a number that is not negative, as zmij prints it, without zeros at either end, and
/// the power of ten of the first one.
fn shortest(text: &str) -> (String, i32) {
    let (mantissa, power) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let significant = all.trim_start_matches('0');
    if significant.is_empty() {
        return ("0".to_owned(), 0);
    }
    let length = |text: &str| i32::try_from(text.len()).unwrap_or(i32::MAX);
    let leading_zeros = length(&all) - length(significant);
    let exponent = power.parse::<i32>().unwrap_or(0) + length(whole) - 1 - leading_zeros;
    (significant.trim_end_matches('0').to_owned(), exponent)
}

/// `digits` with the decimal point after the first `exponent + 1` of them.
fn write_whole(out: &mut String, digits: &str, exponent: usize) {
    let whole = exponent + 1;
    if digits.len() <= whole {
        out.push_str(digits);
        out.extend(std::iter::repeat_n('0', whole - digits.len()));
        out.push_str(".0");
    } else {
        out.push_str(&digits[..whole]);
        out.push('.');
        out.push_str(&digits[whole..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_python_does() {
        let table = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (123.456, "123.456"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-10, "1.5e-10"),
            (1e15, "1000000000000000.0"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (1.234_567_890_123_456_8e17, "1.2345678901234568e+17"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            // Two shortest texts are equally near: the even one stands.
            (1_764_000_000_000_000.2, "1764000000000000.2"),
            (1_271_008_324_828_393.2, "1271008324828393.2"),
            (1_271_008_324_828_393.8, "1271008324828393.8"),
            (9_007_199_254_740_992.0, "9007199254740992.0"),
        ];
        for (number, expected) in table {
            let mut out = String::new();
            write_repr(&mut out, number);
            assert_eq!(out, expected);
        }
    }
}
