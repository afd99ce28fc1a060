//! The room from outside: bytes in, data sets out. Input is built by hand, not by the room's own writer.

mod bytes_of;
mod forms;
mod hostile;
mod identity;
mod json;
mod pixels;
