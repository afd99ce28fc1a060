//! The DICOM server over TCP, with a real engine on a storage area in memory and an index that can be made to fail.

mod associations;
mod index;
mod stop;
mod store;
mod support;
