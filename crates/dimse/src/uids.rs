//! Unique identifiers and names that the upper layer itself needs.

/// DICOM application context name, PS3.7 A.2.1.
pub const APPLICATION_CONTEXT: &str = "1.2.840.10008.3.1.1.1";
/// Verification SOP class (C-ECHO), PS3.4 A.4.
pub const VERIFICATION: &str = "1.2.840.10008.1.1";
/// Implicit VR Little Endian, the default transfer syntax that every context must offer (PS3.5 10.1).
pub const IMPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2";
/// Explicit VR Little Endian.
pub const EXPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";

/// Pleiad's implementation class UID: derived from a UUID (PS3.5 B.2), the same for all releases.
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.224580250806601547387356776019515152286";
/// Pleiad's implementation version name, at most 16 characters (PS3.7 D.3.3.2.3).
pub const IMPLEMENTATION_VERSION_NAME: &str = "PLEIAD_0";
