//! CudaDevice and the djinn-replay binary.
