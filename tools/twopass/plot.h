// Pictures of curves and weights, through gnuplot.
#pragma once
#include <twopass/core/tensor.h>

#include <string>
#include <vector>

/// The curves of a history file (epoch, accuracy, loss, val_…): one panel for losses, one for the others.
void plot_history(const std::string& csv, const std::string& out);

/// The columns of a kernel [features, classes] as images, one per class: what a linear classifier looks for. Features
/// are 28 × 28 grey or three planes of 32 × 32.
void plot_templates(const twopass::Tensor& kernel, const std::vector<std::string>& classes, const std::string& out);
