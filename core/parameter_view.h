// What this thread's reads of parameters give, whoever decides it. For the files of parameters and their scopes.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include <twopass/core/parameter.h>

namespace twopass {

/// The scopes that this thread is in.
extern thread_local constinit ParameterView parameter_view;

/// What this thread's Substitutions give in place of parameters, known by their ids; the last one counts.
extern thread_local std::vector<std::pair<std::uint64_t, Tensor>> substituted;
/// The number of what is none of these.
inline constexpr std::size_t kNotSubstituted = SIZE_MAX;

}  // namespace twopass
