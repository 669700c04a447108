//! Everything the server can say, appended to a buffer that the caller lends.
