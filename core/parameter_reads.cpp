#include <twopass/core/parameter_reads.h>

#include <twopass/core/parameter_view.h>

namespace twopass {

ParameterReads::ParameterReads() : substitutions_(substituted.size()), before_(parameter_view.reads) {
  parameter_view.reads = this;
}
ParameterReads::~ParameterReads() { parameter_view.reads = before_; }

void ParameterReads::note(const Parameter& parameter, const Tensor& given, std::size_t number) {
  for (ParameterReads* scope = parameter_view.reads; scope; scope = scope->before_) {
    if (number != kNotSubstituted && number >= scope->substitutions_) continue;
    if (!scope->noted_.insert(parameter.id()).second) continue;
    scope->parameters_.push_back(parameter);
    scope->tensors_.push_back(given);
    scope->substituted_.push_back(number != kNotSubstituted);
  }
}

EarlierReads::EarlierReads(const ParameterReads& reads) {
  for (std::size_t k = 0; k < reads.parameters_.size(); ++k) {
    (reads.substituted_[k] ? substituted_ : parameters_).push_back(reads.parameters_[k]);
    (reads.substituted_[k] ? in_their_place_ : tensors_).push_back(reads.tensors_[k]);
  }
}

EarlierReads::Again::Again(const EarlierReads& reads) : before_(parameter_view) {
  if (parameter_view.lifting) {
    lifted_.emplace();
    for (std::size_t k = 0; k < reads.parameters_.size(); ++k) lifted_->put(reads.parameters_[k], reads.tensors_[k]);
    parameter_view.reads = nullptr;
    parameter_view.substitutions = substituted.size();
  } else {
    sandbox_.emplace();
    for (std::size_t k = 0; k < reads.parameters_.size(); ++k) sandbox_->take(reads.parameters_[k], reads.tensors_[k]);
  }
  substitution_.emplace(reads.substituted_, reads.in_their_place_);
}

EarlierReads::Again::~Again() {
  substitution_.reset();
  if (lifted_) lifted_->undo();
  sandbox_.reset();
  parameter_view = before_;
}

}  // namespace twopass
