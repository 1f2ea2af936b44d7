# What is installed, and where. The three programs that people do not call by path live together, as vmd looks for its children beside
# itself; vmd has a name in sbin. Paths in the systemd units are those of a prefix of /usr.
include(GNUInstallDirs)
set(VV_PRIVATE lib/vivarium)
install(TARGETS vmd vmd-worker vmd-import RUNTIME DESTINATION ${VV_PRIVATE})
install(TARGETS vmctl RUNTIME DESTINATION bin)
install(CODE "
  set(to \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/sbin\")
  file(MAKE_DIRECTORY \"\${to}\")
  file(CREATE_LINK ../${VV_PRIVATE}/vmd \"\${to}/vmd\" SYMBOLIC)")
install(FILES etc/vmd.yaml DESTINATION /etc/vmd) # where vmd looks, whatever the prefix
install(FILES ${CMAKE_BINARY_DIR}/man/vmd.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
install(FILES ${CMAKE_BINARY_DIR}/man/vmd.yaml.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
install(FILES packaging/systemd/vmd.service packaging/systemd/vmd.socket DESTINATION lib/systemd/system)
install(FILES packaging/systemd/user/vmd.service packaging/systemd/user/vmd.socket DESTINATION lib/systemd/user)
install(FILES packaging/systemd/sysusers.conf DESTINATION lib/sysusers.d RENAME vmd.conf)
install(FILES packaging/systemd/tmpfiles.conf DESTINATION lib/tmpfiles.d RENAME vmd.conf)
install(FILES README.md SECURITY.md ARCHITECTURE.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
# vmctl's manual pages and completions come from its own tables, by itself.
install(CODE "
  set(vmctl \"${CMAKE_BINARY_DIR}/bin/vmctl\")
  set(root \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}\")
  set(bash share/bash-completion/completions/vmctl)
  set(zsh share/zsh/vendor-completions/_vmctl)
  set(fish share/fish/vendor_completions.d/vmctl.fish)
  execute_process(COMMAND \"\${vmctl}\" completion bash OUTPUT_VARIABLE text RESULT_VARIABLE rc ERROR_QUIET)
  if(rc EQUAL 0)
    foreach(shell bash zsh fish)
      execute_process(COMMAND \"\${vmctl}\" completion \${shell} OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
      file(WRITE \"\${root}/\${\${shell}}\" \"\${text}\")
    endforeach()
    file(MAKE_DIRECTORY \"\${root}/share/man/man1\")
    execute_process(COMMAND \"\${vmctl}\" manpage \"\${root}/share/man/man1\" COMMAND_ERROR_IS_FATAL ANY)
  endif()")
