//! pinholes
