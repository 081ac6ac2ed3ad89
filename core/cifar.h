// The binary version of CIFAR-10 (Krizhevsky, 2009).
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include <twopass/core/tensor.h>

namespace twopass {

/// Images as f32 [n, 3072] in 0..1 (1024 red, 1024 green, 1024 blue values, each row by row) and labels as i64 [n].
struct CifarBatch {
  Tensor inputs;
  Tensor labels;
};

/// The records of one or more files, in order. Refuses empty files, sizes that are no multiple of 3073 and labels above
/// 9, naming file and offset.
CifarBatch read_cifar10(const std::vector<std::string>& paths);
/// The same from bytes; `name` stands in errors.
CifarBatch parse_cifar10(std::string_view bytes, std::string_view name);

/// The ten names in batches.meta.txt, one per line. Refuses another number of them.
std::vector<std::string> read_cifar10_classes(std::string_view path);

}  // namespace twopass
