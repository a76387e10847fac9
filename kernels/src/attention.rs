//! Attention in double precision, on the CPU: what both attention kernels are held to.

use half::bf16;

/// Softmax-weighted values for one query head over `keys.len()` visible tokens; zeros if there is none.
///
/// The scale is `1 / sqrt(head_dim)`, with `head_dim` the length of `query`.
pub fn reference(query: &[bf16], keys: &[&[bf16]], values: &[&[bf16]]) -> Vec<f64> {
    let scale = (query.len() as f64).sqrt().recip();
    let scores: Vec<f64> = keys
        .iter()
        .map(|key| {
            scale
                * query
                    .iter()
                    .zip(*key)
                    .map(|(q, k)| q.to_f64() * k.to_f64())
                    .sum::<f64>()
        })
        .collect();
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - top).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut output = vec![0.0; query.len()];
    for (weight, value) in weights.iter().zip(values) {
        for (sum, v) in output.iter_mut().zip(*value) {
            *sum += weight / total * v.to_f64();
        }
    }
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_give_the_mean_of_the_values() {
        let key = [bf16::ONE; 4];
        let (one, three) = ([bf16::from_f32(1.0); 4], [bf16::from_f32(3.0); 4]);
        let output = reference(&key, &[&key, &key], &[&one, &three]);
        assert!(output.iter().all(|x| (x - 2.0).abs() < 1e-12));
    }

    #[test]
    fn scores_are_scaled_by_the_root_of_the_head_dimension() {
        // q.k = 4 * 1 = 4, scaled by 1/2: weights e^2 to 1 for values 1 and 0.
        let (query, zero) = ([bf16::ONE; 4], [bf16::ZERO; 4]);
        let output = reference(&query, &[&query, &zero], &[&query, &zero]);
        let want = 2.0_f64.exp() / (2.0_f64.exp() + 1.0);
        assert!(output.iter().all(|x| (x - want).abs() < 1e-12));
    }

    #[test]
    fn no_visible_token_gives_zeros() {
        assert_eq!(reference(&[bf16::ONE; 2], &[], &[]), [0.0, 0.0]);
    }
}
