//! The frame of a UDP datagram: request id, sequence, count, reserved.
