//! stub
mod socket;
pub use socket::AdminSocket;
