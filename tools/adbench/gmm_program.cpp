// gmm FILE: ADBench's GMM objective at the parameters of an instance, its gradient, and what both passes take.
#include "gmm.h"

int main(int argc, char** argv) { return adbench::run(argc, argv, "gmm", adbench::read_gmm); }
