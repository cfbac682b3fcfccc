# Installation and the CMake package are described here.
