//! The C interface of SDF (GM/T 0018), loaded at run time.
