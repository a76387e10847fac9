//! CUDA kernels, their launchers and CPU references, and a small gpu module.
//!
//! Each kernel is a pair of files: `<name>.cu` states shape, layout, grid and traffic, `<name>.rs` has the
//! typed launcher, which checks its arguments, and a plain CPU `reference`. The binary `kernels-check` holds
//! one against the other on a GPU; `build.sh` makes `ptx/` from the sources, without a GPU.
//!
//! | module | computes |
//! |---|---|
//! | [`gather`], [`scatter`], [`staged`] | KV blocks between HBM and the host pool |
//! | [`stamp`], [`checksum`] | integrity of KV blocks, by content id |
//! | [`rms_norm`], [`rope`], [`silu_mul`] | the element-wise parts of a Llama layer |
//! | [`decode_attention`], [`prefill_attention`] | attention over paged KV |
//! | [`gemm`], [`skinny_gemm`] | matrix products: by cuBLASLt, and for few rows |
//! | [`take_rows`], [`argmax`] | embedding, last rows, greedy sampling |
//! | [`step_inputs`] | the lists of a step, from pinned host memory |
//! | [`random`], [`occupy`] | random weights; stand-ins for compute |
//!
//! This is the only crate that depends on cudarc, and it imports no other crate of the workspace.

mod arguments;

pub mod argmax;
pub mod attention;
pub mod checksum;
pub mod decode_attention;
mod decode_plan;
pub mod gather;
pub mod gemm;
pub mod gpu;
pub mod kv;
#[cfg(test)]
mod measured;
pub mod mix;
pub mod occupy;
pub mod prefill_attention;
mod prefill_cut;
mod prefill_plan;
mod prefill_time;
pub mod random;
pub mod rms_norm;
pub mod rope;
pub mod scatter;
pub mod silu_mul;
pub mod skinny_gemm;
mod skinny_mma;
mod skinny_wgmma;
pub mod staged;
pub mod stamp;
pub mod step_inputs;
pub mod take_rows;

/// Every shipped kernel image.
pub const IMAGES: [gpu::Image; 15] = [
    argmax::IMAGE,
    checksum::IMAGE,
    decode_attention::IMAGE,
    gather::IMAGE,
    occupy::IMAGE,
    prefill_attention::IMAGE,
    random::IMAGE,
    rms_norm::IMAGE,
    rope::IMAGE,
    scatter::IMAGE,
    silu_mul::IMAGE,
    skinny_gemm::IMAGE,
    stamp::IMAGE,
    step_inputs::IMAGE,
    take_rows::IMAGE,
];

#[cfg(test)]
mod tests {
    use super::IMAGES;

    #[test]
    fn the_ptx_is_for_every_gpu_from_8_0_and_every_driver_from_12_8() {
        for image in IMAGES {
            let text = std::str::from_utf8(image.ptx).expect("PTX is text");
            // ISA 8.7 came with CUDA 12.8 (PTX ISA, release notes).
            assert!(text.contains("\n.version 8.7\n"), "{}", image.name);
            assert!(text.contains("\n.target sm_80\n"), "{}", image.name);
        }
    }

    #[test]
    fn the_machine_code_is_elf_for_the_gpu() {
        for image in IMAGES {
            assert_eq!(image.cubin[..4], *b"\x7fELF", "{}", image.name);
            // e_machine at byte 18: 190 is EM_CUDA.
            assert_eq!(
                u16::from_le_bytes([image.cubin[18], image.cubin[19]]),
                190,
                "{}",
                image.name
            );
        }
    }
}
