#include "attributes.h"

#include <cstring>

namespace lqe {
namespace {

// FlexBuffers: a value's packed type is its type << 2 | log2 of the width in bytes of what it holds.
enum FlexType { kInt = 1, kUInt = 2, kIndirectInt = 6, kIndirectUInt = 7, kMap = 9, kBool = 26 };

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  bool read(size_t at, size_t width, bool is_signed, int64_t* value) const {
    if (width > size_ || at > size_ - width) return false;
    uint64_t bits = 0;
    for (size_t i = 0; i < width; ++i) bits |= uint64_t{data_[at + i]} << (8 * i);
    if (is_signed && width < 8 && (bits >> (8 * width - 1)) & 1) bits |= ~uint64_t{0} << (8 * width);
    std::memcpy(value, &bits, sizeof *value);
    return true;
  }

  // Follows the offset that is stored at `at`: FlexBuffers count back from where an offset lies.
  bool follow(size_t at, size_t width, size_t* target) const {
    int64_t offset;
    if (!read(at, width, false, &offset) || offset < 0 || uint64_t(offset) > at) return false;
    *target = at - size_t(offset);
    return true;
  }

  bool equals(size_t at, const char* name) const {
    size_t length = std::strlen(name) + 1;
    return length <= size_ && at <= size_ - length && std::memcmp(data_ + at, name, length) == 0;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

struct Map {
  size_t values, width, count, keys, key_width;
};

bool open_map(const Bytes& bytes, size_t size, Map* map) {
  int64_t packed, root_width, count, key_width;
  if (size < 3 || !bytes.read(size - 1, 1, false, &root_width) || !bytes.read(size - 2, 1, false, &packed)) return false;
  if (packed >> 2 != kMap || root_width < 1 || root_width > 8 || size_t(root_width) > size - 2) return false;
  map->width = size_t{1} << (packed & 3);
  if (!bytes.follow(size - 2 - size_t(root_width), size_t(root_width), &map->values)) return false;
  if (map->values < 3 * map->width || !bytes.read(map->values - map->width, map->width, false, &count)) return false;
  if (!bytes.read(map->values - 2 * map->width, map->width, false, &key_width)) return false;
  if (key_width != 1 && key_width != 2 && key_width != 4 && key_width != 8) return false;
  if (!bytes.follow(map->values - 3 * map->width, map->width, &map->keys)) return false;
  if (count < 0 || uint64_t(count) > size / (map->width + 1)) return false;
  map->count = size_t(count);
  map->key_width = size_t(key_width);
  return true;
}

bool read_value(const Bytes& bytes, const Map& map, size_t index, int64_t* value) {
  int64_t packed;
  if (!bytes.read(map.values + map.count * map.width + index, 1, false, &packed)) return false;
  size_t at = map.values + index * map.width;
  int type = int(packed >> 2);
  if (type == kInt || type == kUInt || type == kBool) return bytes.read(at, map.width, type == kInt, value);
  if (type != kIndirectInt && type != kIndirectUInt) return false;
  size_t target;
  return bytes.follow(at, map.width, &target) &&
         bytes.read(target, size_t{1} << (packed & 3), type == kIndirectInt, value);
}

}  // namespace

bool read_attribute(const uint8_t* data, size_t size, const char* name, int64_t* value, std::string* error) {
  Bytes bytes(data, data == nullptr ? 0 : size);
  Map map;
  if (data == nullptr || !open_map(bytes, size, &map)) {
    *error = "its attributes are no FlexBuffers map of integers (" + std::to_string(size) + " bytes)";
    return false;
  }
  for (size_t i = 0; i < map.count; ++i) {
    size_t key;
    if (!bytes.follow(map.keys + i * map.key_width, map.key_width, &key) || !bytes.equals(key, name)) continue;
    if (read_value(bytes, map, i, value)) return true;
    *error = std::string("its attribute ") + name + " is no integer";
    return false;
  }
  *error = std::string("its attribute ") + name + " is missing";
  return false;
}

}  // namespace lqe
