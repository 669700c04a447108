//! Size classes: what `stats slabs` and `stats items` are told in, because exporters and tools need
//! them. The store itself has no slabs.
