// lstm FILE: ADBench's LSTM objective at the parameters of an instance, its gradient, and what both passes take.
#include "lstm.h"

int main(int argc, char** argv) { return adbench::run(argc, argv, "lstm", adbench::read_lstm); }
