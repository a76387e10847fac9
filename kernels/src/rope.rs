//! Rotary position embedding of Q and K, and the write of K and V into paged blocks; before it, where a model has them, the bias
//! of the projections and the norm of each head.
//!
//! Shapes, grid and traffic: `rope.cu`. Positions and slots live in GPU memory and are trusted.

use half::bf16;

use crate::arguments::{GRID_X_MAX, holds, multiple, within};
use crate::gpu::{ArgumentError, Error, Gpu, Image, Kernel, Launch, Module, Stream, View, image};
use crate::kv::KvPool;

/// The shipped kernel.
pub const IMAGE: Image = image!("rope");

/// Rotates Q and K, writes K and V.
pub struct Rope {
    kernel: Kernel,
}

/// One call, for one layer.
#[derive(Debug, Clone, Copy)]
pub struct RopeTokens {
    /// `[token_count][(q_heads + 2 * kv_heads) * head_dim]` bf16: Q, K, V. Q is rotated in place.
    pub qkv: View,
    /// `[(q_heads + 2 * kv_heads) * head_dim]` bf16: added to every row.
    pub bias: Option<View>,
    /// `[2][head_dim]` bf16: weights of the RMSNorm of each head of Q and of K.
    pub norm: Option<View>,
    /// Added to the mean of squares, with `norm`.
    pub epsilon: f32,
    /// `[token_count]` int32.
    pub positions: View,
    /// `[token_count]` int32: block id * `block_tokens` + place in the block; negative writes nothing.
    pub slots: View,
    /// `[head_dim / 2]` float: see [`frequencies`].
    pub frequency: View,
    /// Where K and V go.
    pub pool: KvPool,
    /// Layer whose K and V these are.
    pub layer: u32,
    /// Heads of Q.
    pub q_heads: u32,
    /// Tokens; zero submits nothing.
    pub token_count: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Parameters {
    qkv: u64,
    bias: u64,
    norm: u64,
    positions: u64,
    slots: u64,
    frequency: u64,
    k: u64,
    v: u64,
    block_stride: u64,
    token_stride: u32,
    q_heads: u32,
    kv_heads: u32,
    head_dim: u32,
    block_tokens: u32,
    epsilon: f32,
}

impl Rope {
    /// Loads the kernel.
    ///
    /// # Errors
    /// [`Error::Module`] if the GPU takes neither of its forms.
    pub fn load(gpu: &Gpu) -> Result<Self, Error> {
        Ok(Self {
            kernel: Module::load(gpu, &IMAGE)?.kernel("rope", 0)?,
        })
    }

    /// Submits the rotation and the writes to `stream`.
    ///
    /// # Errors
    /// A typed argument error for shapes or buffers that the kernel cannot take, or what the driver refuses.
    pub fn launch(&self, stream: &Stream, tokens: &RopeTokens) -> Result<(), Error> {
        let parameters = tokens.check()?;
        if tokens.token_count == 0 {
            return Ok(());
        }
        let launch = Launch {
            grid: [tokens.token_count, 1, 1],
            threads: 256,
        };
        // SAFETY: 1. the struct mirrors `RopeArgs`. 2. `check` covers all but the slots, which the caller owns. 3. it waits first.
        unsafe { self.kernel.launch_overlapping(stream, launch, &parameters) }
    }
}

impl RopeTokens {
    fn check(&self) -> Result<Parameters, ArgumentError> {
        let operation = "rope";
        let layout = &self.pool.layout;
        within(operation, "head_dim", layout.head_dim.into(), 16, 256)?;
        multiple(operation, "head_dim", layout.head_dim.into(), 16)?;
        within(
            operation,
            "token_count",
            self.token_count.into(),
            0,
            GRID_X_MAX,
        )?;
        self.pool.check_layer(operation, self.layer)?;
        let token_stride = (self.q_heads + 2 * layout.kv_heads) * layout.head_dim;
        let tokens = u64::from(self.token_count);
        holds(
            operation,
            "qkv",
            self.qkv,
            2 * tokens * u64::from(token_stride),
            16,
        )?;
        if let Some(bias) = self.bias {
            holds(operation, "bias", bias, 2 * u64::from(token_stride), 16)?;
        }
        if let Some(norm) = self.norm {
            holds(operation, "norm", norm, 4 * u64::from(layout.head_dim), 16)?;
            // Eight pairs a thread, and the threads of a head add up by halving.
            if !layout.head_dim.is_power_of_two() {
                let value = layout.head_dim.into();
                return Err(ArgumentError::Unsupported {
                    operation,
                    name: "head_dim",
                    value,
                    known: "powers of two where heads are normalised",
                });
            }
        }
        holds(operation, "positions", self.positions, 4 * tokens, 4)?;
        holds(operation, "slots", self.slots, 4 * tokens, 4)?;
        holds(
            operation,
            "frequency",
            self.frequency,
            2 * u64::from(layout.head_dim),
            4,
        )?;
        let (k, v) = self.pool.layer_addresses(self.layer);
        Ok(Parameters {
            qkv: self.qkv.address(),
            bias: self.bias.map_or(0, View::address),
            norm: self.norm.map_or(0, View::address),
            positions: self.positions.address(),
            slots: self.slots.address(),
            frequency: self.frequency.address(),
            k,
            v,
            block_stride: layout.block_stride() / 2,
            token_stride,
            q_heads: self.q_heads,
            kv_heads: layout.kv_heads,
            head_dim: layout.head_dim,
            block_tokens: layout.block_tokens,
            epsilon: self.epsilon,
        })
    }
}

/// Angle per position of each pair \[rad\]: `base^(-2i / head_dim)`, without any scaling of long contexts.
///
/// Source: Su et al., RoFormer (2021), section 3.2; `base` is `rope_theta` of a model's configuration.
pub fn frequencies(head_dim: u32, base: f64) -> Vec<f32> {
    (0..head_dim / 2)
        .map(|i| base.powf(-2.0 * f64::from(i) / f64::from(head_dim)) as f32)
        .collect()
}

/// One head after the bias and the RMSNorm that a model may have, in double precision.
pub fn prepared(
    head: &[bf16],
    bias: Option<&[bf16]>,
    norm: Option<&[bf16]>,
    epsilon: f32,
) -> Vec<f64> {
    let mut head: Vec<f64> = head.iter().map(|x| x.to_f64()).collect();
    for (x, bias) in head.iter_mut().zip(bias.unwrap_or_default()) {
        *x += bias.to_f64();
    }
    let squares: f64 = head.iter().map(|x| x * x).sum();
    let scale = (squares / head.len() as f64 + f64::from(epsilon))
        .sqrt()
        .recip();
    for (x, weight) in head.iter_mut().zip(norm.unwrap_or_default()) {
        *x *= scale * weight.to_f64();
    }
    head
}

/// What [`Rope`] makes of one [`prepared`] head at `position`, in double precision, from the float angle of the kernel.
pub fn reference(head: &[f64], position: i32, frequency: &[f32]) -> Vec<f64> {
    let half = head.len() / 2;
    let mut rotated = vec![0.0; head.len()];
    for i in 0..half {
        let (sine, cosine) = f64::from(position as f32 * frequency[i]).sin_cos();
        let (x, y) = (head[i], head[i + half]);
        rotated[i] = x * cosine - y * sine;
        rotated[i + half] = y * cosine + x * sine;
    }
    rotated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{KvLayout, KvOrder};

    #[test]
    fn position_zero_changes_nothing_and_a_right_angle_swaps_a_pair() {
        let head = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(reference(&head, 0, &[1.0, 0.5]), [1.0, 2.0, 3.0, 4.0]);
        // Pairs (1, 3) and (2, 4); a quarter turn takes (x, y) to (-y, x).
        let quarter = std::f32::consts::FRAC_PI_2;
        let turned = reference(&head, 1, &[quarter, quarter]);
        for (have, want) in turned.iter().zip([-3.0, -4.0, 1.0, 2.0]) {
            assert!((have - want).abs() < 1e-6, "{turned:?}");
        }
    }

    #[test]
    fn the_bias_comes_before_the_norm() {
        let [head, bias] = [[1.0, -1.0], [2.0, 5.0]].map(|x| x.map(bf16::from_f32));
        assert_eq!(prepared(&head, Some(&bias), None, 1e-5), [3.0, 4.0]);
        // 3 and 4 over the root of 12.5, times the weights 1 and 2.
        let weight = [1.0, 2.0].map(bf16::from_f32);
        let normed = prepared(&head, Some(&bias), Some(&weight), 0.0);
        let root = 12.5_f64.sqrt();
        assert!((normed[0] - 3.0 / root).abs() < 1e-12 && (normed[1] - 8.0 / root).abs() < 1e-12);
    }

    #[test]
    fn frequencies_fall_from_one_by_a_constant_factor() {
        let list = frequencies(128, 10_000.0);
        assert_eq!((list.len(), list[0].to_bits()), (64, 1.0_f32.to_bits()));
        // 10,000^(-64/128) = 1/100 at the middle.
        assert!((list[32] - 0.01).abs() < 1e-8);
    }

    #[test]
    fn a_row_too_short_for_q_k_and_v_is_refused() {
        let layout = KvLayout {
            order: KvOrder::BlockMajor,
            block_count: 2,
            layers: 2,
            kv_heads: 2,
            block_tokens: 16,
            head_dim: 64,
        };
        let wide = View::new(0, 1 << 20);
        let good = RopeTokens {
            qkv: View::new(0, 2 * 3 * (4 + 2 * 2) * 64),
            bias: None,
            norm: None,
            epsilon: 1e-5,
            positions: wide,
            slots: wide,
            frequency: wide,
            pool: KvPool {
                layout,
                view: View::new(0, layout.pool_bytes()),
            },
            layer: 1,
            q_heads: 4,
            token_count: 3,
        };
        assert!(good.check().is_ok());
        assert!(matches!(
            RopeTokens {
                token_count: 4,
                ..good
            }
            .check(),
            Err(ArgumentError::TooShort { name: "qkv", .. })
        ));
        assert!(RopeTokens { layer: 2, ..good }.check().is_err());
    }

    #[test]
    fn a_bias_too_short_and_a_norm_over_an_odd_head_are_refused() {
        let layout = KvLayout {
            order: KvOrder::BlockMajor,
            block_count: 2,
            layers: 1,
            kv_heads: 2,
            block_tokens: 16,
            head_dim: 96,
        };
        let wide = View::new(0, 1 << 20);
        let good = RopeTokens {
            qkv: wide,
            bias: Some(View::new(0, 2 * (4 + 2 * 2) * 96)),
            norm: None,
            epsilon: 1e-5,
            positions: wide,
            slots: wide,
            frequency: wide,
            pool: KvPool { layout, view: wide },
            layer: 0,
            q_heads: 4,
            token_count: 3,
        };
        assert!(good.check().is_ok());
        let short = RopeTokens {
            bias: Some(View::new(0, 2 * (4 + 2 * 2) * 96 - 1)),
            ..good
        };
        assert!(matches!(
            short.check(),
            Err(ArgumentError::TooShort { name: "bias", .. })
        ));
        let odd = RopeTokens {
            norm: Some(wide),
            ..good
        };
        assert!(matches!(
            odd.check(),
            Err(ArgumentError::Unsupported { value: 96, .. })
        ));
    }
}
