/// A font of pen strokes, which can be drawn at any size and angle.
///
/// The letters are Hershey's simplex roman, printable ASCII only. The Hershey Fonts were originally created by Dr. A. V.
/// Hershey while working at the U. S. National Bureau of Standards. The format of the font data was originally created by
/// James Hurt, Cognition, Inc., 900 Technology Park Drive, Billerica, MA 01821.
struct StrokeFont {
  private struct Glyph {
    /// Where the pen goes, in the font's units: x from the glyph's left edge, y from the base line, downwards.
    let strokes: [[Place]]
    let width: Double
  }

  /// The height of a capital letter in the font's units.
  private static let capital = 21.0
  /// Where the base line is in the data.
  private static let base = 9.0

  static let roman = StrokeFont(data)

  private let glyphs: [Glyph]

  /// - Parameter lines: a line for each printable ASCII character. Each pair of letters is a position, counted from `R`;
  ///   the first pair has the glyph's left and right edges, and a blank before `R` lifts the pen.
  private init(_ lines: [String]) {
    glyphs = lines.map { line in
      let numbers = line.utf8.map { Double($0) - Double(UInt8(ascii: "R")) }
      let pairs = stride(from: 0, to: numbers.count - 1, by: 2).map { (numbers[$0], numbers[$0 + 1]) }
      let lifted = Double(UInt8(ascii: " ")) - Double(UInt8(ascii: "R"))
      let strokes = pairs.dropFirst().split { $0 == (lifted, 0) }.map { stroke in
        stroke.map { Place($0 - pairs[0].0, $1 - Self.base) }
      }
      return Glyph(strokes: strokes, width: pairs[0].1 - pairs[0].0)
    }
  }

  /// A text's width in pixels.
  ///
  /// - Parameters:
  ///   - text: the text; what is not printable ASCII has the width of a question mark.
  ///   - height: the height of a capital letter in pixels.
  func width(of text: String, height: Double) -> Double {
    text.reduce(0) { $0 + glyph($1).width } * height / Self.capital
  }

  /// A text's strokes from its left end on the base line, in pixels, y downwards.
  func strokes(of text: String, height: Double) -> [[Place]] {
    let scale = height / Self.capital
    var (strokes, x): ([[Place]], Double) = ([], 0)
    for character in text {
      let glyph = glyph(character)
      strokes += glyph.strokes.map { $0.map { Place(scale * (x + $0.x), scale * $0.y) } }
      x += glyph.width
    }
    return strokes
  }

  private func glyph(_ character: Character) -> Glyph {
    let code = character.asciiValue.map { Int($0) - 32 } ?? -1
    return glyphs[glyphs.indices.contains(code) ? code : Int(UInt8(ascii: "?")) - 32]
  }

  private static let data = [
    #"JZ"#,
    #"MWRFRT RRYQZR[SZRY"#,
    #"JZNFNM RVFVM"#,
    #"H]SBLb RYBRb RLOZO RKUYU"#,
    #"H\PBP_ RTBT_ RYIWGTFPFMGKIKKLMMNOOUQWRXSYUYXWZT[P[MZKX"#,
    #"F^[FI[ RNFPHPJOLMMKMIKIIJGLFNFPGSHVHYG[F RWTUUTWTYV[X[ZZ[X[VYTWT"#,
    #"E_\O\N[MZMYNXPVUTXRZP[L[JZIYHWHUISJRQNRMSKSIRGPFNGMIMKNNPQUXWZY[[[\Z\Y"#,
    #"MWRHQGRFSGSIRKQL"#,
    #"KYVBTDRGPKOPOTPYR]T`Vb"#,
    #"KYNBPDRGTKUPUTTYR]P`Nb"#,
    #"JZRFRR RMIWO RWIMO"#,
    #"E_RIR[ RIR[R"#,
    #"MWSZR[QZRYSZS\R^Q_"#,
    #"E_IR[R"#,
    #"MWRYQZR[SZRY"#,
    #"G][BIb"#,
    #"H\QFNGLJKOKRLWNZQ[S[VZXWYRYOXJVGSFQF"#,
    #"H\NJPISFS["#,
    #"H\LKLJMHNGPFTFVGWHXJXLWNUQK[Y["#,
    #"H\MFXFRNUNWOXPYSYUXXVZS[P[MZLYKW"#,
    #"H\UFKTZT RUFU["#,
    #"H\WFMFLOMNPMSMVNXPYSYUXXVZS[P[MZLYKW"#,
    #"H\XIWGTFRFOGMJLOLTMXOZR[S[VZXXYUYTXQVOSNRNOOMQLT"#,
    #"H\YFO[ RKFYF"#,
    #"H\PFMGLILKMMONSOVPXRYTYWXYWZT[P[MZLYKWKTLRNPQOUNWMXKXIWGTFPF"#,
    #"H\XMWPURRSQSNRLPKMKLLINGQFRFUGWIXMXRWWUZR[P[MZLX"#,
    #"MWRMQNROSNRM RRYQZR[SZRY"#,
    #"MWRMQNROSNRM RSZR[QZRYSZS\R^Q_"#,
    #"F^ZIJRZ["#,
    #"E_IO[O RIU[U"#,
    #"F^JIZRJ["#,
    #"I[LKLJMHNGPFTFVGWHXJXLWNVORQRT RRYQZR[SZRY"#,
    #"E`WNVLTKQKOLNMMPMSNUPVSVUUVS RQKOMNPNSOUPV RWKVSVUXVZV\T]Q]O\L[JYHWGTFQFNGLHJJILHOHRIUJWLYNZQ[T[WZYYZX RXKWSWUXV"#,
    #"I[RFJ[ RRFZ[ RMTWT"#,
    #"G\KFK[ RKFTFWGXHYJYLXNWOTP RKPTPWQXRYTYWXYWZT[K["#,
    #"H]ZKYIWGUFQFOGMILKKNKSLVMXOZQ[U[WZYXZV"#,
    #"G\KFK[ RKFRFUGWIXKYNYSXVWXUZR[K["#,
    #"H[LFL[ RLFYF RLPTP RL[Y["#,
    #"HZLFL[ RLFYF RLPTP"#,
    #"H]ZKYIWGUFQFOGMILKKNKSLVMXOZQ[U[WZYXZVZS RUSZS"#,
    #"G]KFK[ RYFY[ RKPYP"#,
    #"NVRFR["#,
    #"JZVFVVUYTZR[P[NZMYLVLT"#,
    #"G\KFK[ RYFKT RPOY["#,
    #"HYLFL[ RL[X["#,
    #"F^JFJ[ RJFR[ RZFR[ RZFZ["#,
    #"G]KFK[ RKFY[ RYFY["#,
    #"G]PFNGLIKKJNJSKVLXNZP[T[VZXXYVZSZNYKXIVGTFPF"#,
    #"G\KFK[ RKFTFWGXHYJYMXOWPTQKQ"#,
    #"G]PFNGLIKKJNJSKVLXNZP[T[VZXXYVZSZNYKXIVGTFPF RSWY]"#,
    #"G\KFK[ RKFTFWGXHYJYLXNWOTPKP RRPY["#,
    #"H\YIWGTFPFMGKIKKLMMNOOUQWRXSYUYXWZT[P[MZKX"#,
    #"JZRFR[ RKFYF"#,
    #"G]KFKULXNZQ[S[VZXXYUYF"#,
    #"I[JFR[ RZFR["#,
    #"F^HFM[ RRFM[ RRFW[ R\FW["#,
    #"H\KFY[ RYFK["#,
    #"I[JFRPR[ RZFRP"#,
    #"H\YFK[ RKFYF RK[Y["#,
    #"KYOBOb RPBPb ROBVB RObVb"#,
    #"KYKFY^"#,
    #"KYTBTb RUBUb RNBUB RNbUb"#,
    #"JZPLRITL RMORJWO RRJR["#,
    #"JZJ]Z]"#,
    #"MWSFRGQIQKRLSKRJ"#,
    #"I\XMX[ RXPVNTMQMONMPLSLUMXOZQ[T[VZXX"#,
    #"H[LFL[ RLPNNPMSMUNWPXSXUWXUZS[P[NZLX"#,
    #"I[XPVNTMQMONMPLSLUMXOZQ[T[VZXX"#,
    #"I\XFX[ RXPVNTMQMONMPLSLUMXOZQ[T[VZXX"#,
    #"I[LSXSXQWOVNTMQMONMPLSLUMXOZQ[T[VZXX"#,
    #"MYWFUFSGRJR[ ROMVM"#,
    #"I\XMX]W`VaTbQbOa RXPVNTMQMONMPLSLUMXOZQ[T[VZXX"#,
    #"I\MFM[ RMQPNRMUMWNXQX["#,
    #"NVQFRGSFREQF RRMR["#,
    #"MWRFSGTFSERF RSMS^RaPbNb"#,
    #"IZMFM[ RWMMW RQSX["#,
    #"NVRFR["#,
    #"CaGMG[ RGQJNLMOMQNRQR[ RRQUNWMZM\N]Q]["#,
    #"I\MMM[ RMQPNRMUMWNXQX["#,
    #"I\QMONMPLSLUMXOZQ[T[VZXXYUYSXPVNTMQM"#,
    #"H[LMLb RLPNNPMSMUNWPXSXUWXUZS[P[NZLX"#,
    #"I\XMXb RXPVNTMQMONMPLSLUMXOZQ[T[VZXX"#,
    #"KXOMO[ ROSPPRNTMWM"#,
    #"J[XPWNTMQMNNMPNRPSUTWUXWXXWZT[Q[NZMX"#,
    #"MYRFRWSZU[W[ ROMVM"#,
    #"I\MMMWNZP[S[UZXW RXMX["#,
    #"JZLMR[ RXMR["#,
    #"G]JMN[ RRMN[ RRMV[ RZMV["#,
    #"J[MMX[ RXMM["#,
    #"JZLMR[ RXMR[P_NaLbKb"#,
    #"J[XMM[ RMMXM RM[X["#,
    #"KYTBRCQDPFPHQJRKSMSOQQ RRCQEQGRISJTLTNSPORSTTVTXSZR[Q]Q_Ra RQSSUSWRYQZP\P^Q`RaTb"#,
    #"NVRBRb"#,
    #"KYPBRCSDTFTHSJRKQMQOSQ RRCSESGRIQJPLPNQPURQTPVPXQZR[S]S_Ra RSSQUQWRYSZT\T^S`RaPb"#,
    #"F^IUISJPLONOPPTSVTXTZS[Q RISJQLPNPPQTTVUXUZT[Q[O"#,
  ]
}
