// A table of 256 bytes looked up for each byte of a row.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nucleiseg::cpu {

using LookUp = void (*)(const uint8_t* table, const uint8_t* values, size_t count, uint8_t* out);

// What does it at the memory's speed; null where this CPU, or the level of instructions in use, has
// nothing faster than to compute the bytes.
LookUp look_up();

}  // namespace nucleiseg::cpu
