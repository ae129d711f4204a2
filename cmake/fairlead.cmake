# How everything here is compiled and linked, and the few functions that the folders' CMakeLists.txt call:
#
#   fl_library(NAME SOURCES a.c … DEPENDS fl_base … PACKAGES OpenSSL::SSL …)   a static library
#   fl_program(NAME SOURCES main.c DEPENDS …)                                  a program, in build/<preset>/bin
#   fl_test(NAME SOURCES x_test.c DEPENDS … [LABELS unit])                     a cmocka test, run by ctest
#   fl_fuzzer(NAME SOURCES x_fuzz.c DEPENDS … CORPUS dir)                      a libFuzzer target (preset fuzz);
#                                                                              elsewhere its corpus is replayed as a test
# Include root is the project's top folder: #include "common/base/buf.h".

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set_property(GLOBAL PROPERTY USE_FOLDERS ON)

option(FL_TESTS "build the tests" ON)
option(FL_WERROR "warnings are errors (presets and CI set it)" OFF)
set(FL_SANITIZE "" CACHE STRING "sanitizers for everything, as -fsanitize= takes them")
option(FL_FUZZ "build libFuzzer targets (clang)" OFF)
option(FL_HARDEN "hardening flags (release)" OFF)

include(CheckPIESupported)
check_pie_supported(LANGUAGES C)

find_package(PkgConfig REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(CJSON REQUIRED IMPORTED_TARGET libcjson)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(MNL REQUIRED IMPORTED_TARGET libmnl)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
pkg_check_modules(CARES REQUIRED IMPORTED_TARGET libcares)
pkg_check_modules(NGHTTP2 REQUIRED IMPORTED_TARGET libnghttp2)
pkg_check_modules(PROTOBUFC REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(GNUTLS IMPORTED_TARGET gnutls)
if(FL_TESTS)
  pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
endif()

set(FL_WARNINGS
  -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes
  -Wold-style-definition -Wpointer-arith -Wcast-qual -Wwrite-strings -Wformat=2 -Wundef -Wvla -Wswitch-enum
  -Wimplicit-fallthrough -Wnull-dereference -Wredundant-decls)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  list(APPEND FL_WARNINGS -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wjump-misses-init)
endif()

# Seconds that a test may take: a machine that is emulated is slow.
set(FL_TEST_TIMEOUT 120)
if(CMAKE_CROSSCOMPILING_EMULATOR)
  set(FL_TEST_TIMEOUT 1800)
endif()

add_library(fl_options INTERFACE)
target_include_directories(fl_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(fl_options INTERFACE _GNU_SOURCE FL_VERSION="${PROJECT_VERSION}")
target_compile_options(fl_options INTERFACE ${FL_WARNINGS} -fno-common -fvisibility=hidden -fno-strict-aliasing
  -ffile-prefix-map=${CMAKE_SOURCE_DIR}/= -ffile-prefix-map=${CMAKE_BINARY_DIR}/=build/)
target_link_options(fl_options INTERFACE -Wl,--as-needed)
if(FL_WERROR)
  target_compile_options(fl_options INTERFACE -Werror)
endif()
# Where headers of another machine lie is nobody's business, and differs from folder to folder.
set(FL_SYSROOT_MAP "")
if(CMAKE_SYSROOT)
  set(FL_SYSROOT_MAP -ffile-prefix-map=${CMAKE_SYSROOT}/=/)
  target_compile_options(fl_options INTERFACE ${FL_SYSROOT_MAP})
endif()
# Generated code has these, too.
set(FL_GUARDS "")
if(FL_HARDEN)
  # What checks that a jump goes where one may go is another thing on each machine.
  set(FL_BRANCH_PROTECTION -fcf-protection=full)
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
    set(FL_BRANCH_PROTECTION -mbranch-protection=standard)
  endif()
  set(FL_GUARDS -fstack-protector-strong -fstack-clash-protection ${FL_BRANCH_PROTECTION} -U_FORTIFY_SOURCE
    -D_FORTIFY_SOURCE=3)
  target_compile_options(fl_options INTERFACE ${FL_GUARDS})
  target_link_options(fl_options INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
endif()
if(FL_SANITIZE)
  target_compile_definitions(fl_options INTERFACE FL_SANITIZED=1)
  target_compile_options(fl_options INTERFACE -fsanitize=${FL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(fl_options INTERFACE -fsanitize=${FL_SANITIZE})
else()
  target_compile_definitions(fl_options INTERFACE FL_SANITIZED=0)
endif()
if(FL_FUZZ)
  target_compile_options(fl_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

function(fl_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPENDS;PACKAGES" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  target_link_libraries(${name} PUBLIC fl_options ${A_DEPENDS} PRIVATE ${A_PACKAGES})
endfunction()

function(fl_program name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_link_libraries(${name} PRIVATE ${A_DEPENDS})
  set_property(GLOBAL APPEND PROPERTY FL_PROGRAMS ${name})
endfunction()

# Unit tests link the failing allocator (tests/support): every malloc, calloc, realloc and strdup of the code under
# test can be told to fail at the Nth call.
function(fl_test name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPENDS;LABELS;ARGS" ${ARGN})
  if(NOT A_LABELS)
    set(A_LABELS unit)
  endif()
  add_executable(${name} ${A_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_link_libraries(${name} PRIVATE ${A_DEPENDS} fl_test_support PkgConfig::CMOCKA)
  target_link_options(${name} PRIVATE -Wl,--undefined=__wrap_malloc,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup,--wrap=strndup)
  add_test(NAME ${name} COMMAND ${name} ${A_ARGS} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" TIMEOUT ${FL_TEST_TIMEOUT})
  if(CMAKE_CROSSCOMPILING_EMULATOR)
    set_tests_properties(${name} PROPERTIES ENVIRONMENT FL_EMULATED=1 SKIP_RETURN_CODE 77) # tests/support/emulation.h
  endif()
endfunction()

function(fl_fuzzer name)
  cmake_parse_arguments(A "" "CORPUS" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  target_link_libraries(${name} PRIVATE ${A_DEPENDS})
  if(FL_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support/replay.c)
  endif()
  # The lint suite compares this list with what lies in tests/fuzz.
  foreach(source ${A_SOURCES})
    file(REAL_PATH ${source} source BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
    file(REAL_PATH ${A_CORPUS} corpus BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
    set_property(GLOBAL APPEND PROPERTY FL_FUZZERS "${source}|${corpus}")
  endforeach()
  # In the fuzz preset libFuzzer replays the folder itself with -runs=0; elsewhere replay.c does.
  set(replay ${A_CORPUS})
  if(FL_FUZZ)
    set(replay -runs=0 ${A_CORPUS})
  endif()
  add_test(NAME ${name}_corpus COMMAND ${name} ${replay} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name}_corpus PROPERTIES LABELS "corpus" TIMEOUT ${FL_TEST_TIMEOUT})
endfunction()
