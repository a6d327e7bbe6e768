// The attributes of an operator of LCE: a FlexBuffers map from names to integers, kept in the file beside the node.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace lqe {

// Looks up `name` in the FlexBuffers map of `size` bytes at `data`. Answers false and sets `error` to what is wrong
// where the bytes are no such map, the name is missing or its value is no integer. Never reads outside the bytes.
bool read_attribute(const uint8_t* data, size_t size, const char* name, int64_t* value, std::string* error);

}  // namespace lqe
