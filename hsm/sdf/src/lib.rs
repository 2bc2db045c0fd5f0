//! SDF (GM/T 0018) devices as a keystore.
