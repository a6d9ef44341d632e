//! The only places where something is rounded.

/// A figure does not fit 128 bits: refused, never cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an amount is too large to be computed")]
pub(crate) struct Overflow;

/// The product of all factors over the product of all divisors, in whole steps: to the nearest,
/// halves away from zero. `half_up(&[5], &[2], 1)` is 3, `half_up(&[-5], &[2], 1)` is -3.
///
/// `step` is the smallest amount that can be paid, so that a price rounds like one in a shop.
pub(crate) fn half_up(factors: &[i128], divisors: &[i128], step: i128) -> Result<i128, Overflow> {
    let (product, divisor) = fraction(factors, divisors, step)?;
    let (whole, rest) = (product / divisor, product % divisor);
    // Compared without doubling, which could overflow.
    let is_half = rest.abs() >= divisor - rest.abs();
    let steps = if is_half { whole + product.signum() } else { whole };
    steps.checked_mul(step).ok_or(Overflow)
}

/// The same, up to the next whole number; of nothing below zero.
pub(crate) fn up(factors: &[i128], divisors: &[i128]) -> Result<i128, Overflow> {
    let (product, divisor) = fraction(factors, divisors, 1)?;
    let more = i128::from(product % divisor > 0);
    Ok(product / divisor + more)
}

/// Both products, shortened where they can be, so that large factors fit.
fn fraction(factors: &[i128], divisors: &[i128], step: i128) -> Result<(i128, i128), Overflow> {
    let mut divisors: Vec<i128> = divisors.iter().copied().chain([step]).collect();
    let mut product = 1_i128;
    for factor in factors {
        let mut factor = *factor;
        for divisor in &mut divisors {
            let common = common_divisor(factor, *divisor);
            (factor, *divisor) = (factor / common, *divisor / common);
        }
        product = product.checked_mul(factor).ok_or(Overflow)?;
    }
    let divisor = divisors.into_iter().try_fold(1_i128, i128::checked_mul);
    Ok((product, divisor.filter(|divisor| *divisor > 0).ok_or(Overflow)?))
}

/// The greatest number that divides both; `b` is above zero.
fn common_divisor(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.abs().max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn halves_go_away_from_zero() {
        for (factors, divisors, step, expected) in [
            (&[5_i128][..], &[2_i128][..], 1, 3),
            (&[-5], &[2], 1, -3),
            (&[4], &[3], 1, 1),
            (&[0], &[7], 10, 0),
            (&[149], &[1], 100, 100),
            (&[150], &[1], 100, 200),
            (&[-150], &[1], 100, -200),
            (&[-149], &[1], 100, -100),
            (&[7, 10], &[7], 1, 10),
        ] {
            assert_eq!(half_up(factors, divisors, step), Ok(expected), "{factors:?}/{divisors:?}");
        }
        assert_eq!((up(&[7], &[2]), up(&[8], &[2]), up(&[0], &[2])), (Ok(4), Ok(4), Ok(0)));
    }

    #[test]
    fn what_does_not_fit_is_refused_and_what_can_be_shortened_fits() {
        let huge = i128::from(i64::MAX);
        assert_eq!(half_up(&[huge, huge, huge], &[3], 1), Err(Overflow));
        assert_eq!(half_up(&[huge, huge, huge], &[huge], 1), Ok(huge * huge));
        assert_eq!(half_up(&[1], &[0], 1), Err(Overflow));
    }

    proptest! {
        #[test]
        fn the_result_is_the_nearest(
            a in -1_000_000_i128..1_000_000,
            b in 0_i128..1_000_000,
            c in 1_i128..10_000,
            step in 1_i128..1000,
        ) {
            let exact = a * b;
            let rounded = half_up(&[a, b], &[c], step).unwrap();
            prop_assert_eq!(rounded % step, 0);
            // Within half a step: 2 * |rounded * c - exact| <= step * c.
            prop_assert!(2 * (rounded * c - exact).abs() <= step * c);
            let whole = up(&[a.abs(), b], &[c]).unwrap();
            prop_assert!(whole * c >= exact.abs() && (whole - 1) * c < exact.abs().max(1));
        }
    }
}
