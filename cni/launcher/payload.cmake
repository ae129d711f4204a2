# cmake -D program=… -D launcher=… -D payload=… -D strip=… -D readelf=… -P payload.cmake
#
# Gathers in the folder `payload` what an installer puts on a host: launcher, and in files/ the program, the libraries
# that it needs as this machine resolves them, and the loader, as ld.so.
cmake_minimum_required(VERSION 3.25)

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(REMOVE_RECURSE ${payload}/launcher ${payload}/files)
file(MAKE_DIRECTORY ${payload}/files)

file(GET_RUNTIME_DEPENDENCIES EXECUTABLES ${program} RESOLVED_DEPENDENCIES_VAR libraries)
execute_process(COMMAND ${readelf} --program-headers --wide ${program} OUTPUT_VARIABLE headers COMMAND_ERROR_IS_FATAL ANY)
if(NOT headers MATCHES "interpreter: ([^]]+)\\]")
  message(FATAL_ERROR "${program} names no loader")
endif()
file(REAL_PATH ${CMAKE_MATCH_1} loader)

foreach(library ${libraries})
  get_filename_component(name ${library} NAME)
  file(REAL_PATH ${library} file)
  if(NOT file STREQUAL loader)
    configure_file(${file} ${payload}/files/${name} COPYONLY)
  endif()
endforeach()

# A loader preloads what its host's /etc/ld.so.preload names, whatever it is told: libraries of the host that may want
# the host's libc, and then the plugin would not start. The copy looks for a file without a name instead. (No libraries
# come from elsewhere by other ways: the launcher passes --inhibit-cache and --library-path.)
file(COPY_FILE ${loader} ${payload}/files/ld.so)
file(STRINGS ${payload}/files/ld.so found REGEX "^/etc/ld\\.so\\.preload$")
if(NOT found)
  message(FATAL_ERROR "${loader}: /etc/ld.so.preload is not in it; is it glibc's?")
endif()
run(${CMAKE_COMMAND} -E env LC_ALL=C sed -i "s|/etc/ld\\.so\\.preload|\\x00etc/ld.so.preload|g" ${payload}/files/ld.so)

file(COPY_FILE ${program} ${payload}/files/fairlead-cni)
run(${strip} --strip-all ${payload}/files/fairlead-cni)
file(GLOB files ${payload}/files/*)
file(CHMOD ${files} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

# Last, so that a build that was interrupted begins again.
run(${strip} --strip-all -o ${payload}/launcher ${launcher})
