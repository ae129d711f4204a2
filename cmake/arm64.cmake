# The toolchain of preset release-arm64: Debian's cross compiler, the libraries of the folder that cmake/sysroot makes, and qemu to run
# tests with. FL_SYSROOT (environment) names another folder than build/sysroot-arm64.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(triplet aarch64-linux-gnu)

if(DEFINED ENV{FL_SYSROOT})
  set(CMAKE_SYSROOT $ENV{FL_SYSROOT})
else()
  cmake_path(SET CMAKE_SYSROOT NORMALIZE ${CMAKE_CURRENT_LIST_DIR}/../build/sysroot-arm64)
endif()
if(NOT EXISTS ${CMAKE_SYSROOT}/made-by)
  message(FATAL_ERROR "${CMAKE_SYSROOT} is not there: cmake/sysroot makes it (./test arm64 does all of it)")
endif()

set(CMAKE_C_COMPILER ${triplet}-gcc)
set(CMAKE_C_LIBRARY_ARCHITECTURE ${triplet})
set(CMAKE_LIBRARY_ARCHITECTURE ${triplet})

# Libraries of the folder alone, programs (protoc-c) of this machine alone.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${CMAKE_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR} ${CMAKE_SYSROOT}/usr/lib/${triplet}/pkgconfig:${CMAKE_SYSROOT}/usr/share/pkgconfig)
set(ENV{PKG_CONFIG_PATH})

set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -L ${CMAKE_SYSROOT})
