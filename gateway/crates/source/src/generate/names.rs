//! Who there is: codes, names, and what the register says.

use super::random::Stream;
use gw_proto::{Region, Uscc, uscc};

const ALPHABET: [char; 31] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'J', 'K', 'L',
    'M', 'N', 'P', 'Q', 'R', 'T', 'U', 'W', 'X', 'Y',
];

/// Cities of the credit chain; another region is named by its code.
const CITIES: [(&str, &str); 8] = [
    ("310000", "上海"),
    ("320100", "南京"),
    ("320500", "苏州"),
    ("330100", "杭州"),
    ("340100", "合肥"),
    ("320400", "常州"),
    ("321300", "宿迁"),
    ("331000", "台州"),
];

/// (section of GB/T 4754-2017, trade in the name)
const TRADES: [(&str, &str); 40] = [
    ("C", "精密机械"),
    ("C", "新材料"),
    ("C", "纺织"),
    ("C", "电子"),
    ("C", "汽车零部件"),
    ("C", "食品"),
    ("C", "医疗器械"),
    ("C", "包装制品"),
    ("C", "化工"),
    ("C", "家具"),
    ("C", "光电"),
    ("C", "模具"),
    ("F", "商贸"),
    ("F", "建材"),
    ("F", "医药"),
    ("F", "进出口"),
    ("F", "农产品"),
    ("F", "服饰"),
    ("I", "软件"),
    ("I", "信息技术"),
    ("I", "网络科技"),
    ("I", "数据服务"),
    ("E", "建设工程"),
    ("E", "装饰工程"),
    ("E", "园林"),
    ("G", "物流"),
    ("G", "供应链"),
    ("G", "运输"),
    ("M", "生物科技"),
    ("M", "检测技术"),
    ("M", "环保科技"),
    ("L", "企业管理"),
    ("L", "文化传播"),
    ("L", "人力资源"),
    ("H", "餐饮管理"),
    ("H", "酒店"),
    ("A", "农业科技"),
    ("D", "新能源"),
    ("N", "水务"),
    ("R", "文化创意"),
];
const FIRST: [char; 40] = [
    '华', '东', '新', '天', '金', '中', '恒', '瑞', '德', '信', '盛', '泰', '宏', '嘉', '博', '安', '海',
    '江', '云', '远', '力', '永', '正', '同', '明', '凯', '润', '晨', '久', '丰', '启', '锦', '兴', '和',
    '长', '万', '绿', '智', '利', '庆',
];
const SECOND: [char; 40] = [
    '达', '诚', '源', '通', '昌', '祥', '辉', '业', '创', '联', '成', '鑫', '康', '隆', '邦', '科', '腾',
    '飞', '洋', '维', '益', '峰', '宇', '航', '顺', '泽', '晟', '凌', '图', '迈', '川', '胜', '美', '佳',
    '立', '拓', '建', '元', '方', '合',
];
const SURNAMES: [&str; 24] = [
    "王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙", "胡", "朱", "高", "林", "何",
    "郭", "马", "罗", "梁", "宋", "郑", "谢",
];
const GIVEN: [&str; 24] = [
    "伟", "芳", "建国", "丽华", "志强", "敏", "文静", "晓东", "国庆", "秀英", "海燕", "俊杰", "雪梅", "永康",
    "佳宁", "子轩", "一鸣", "春生", "慧", "立新", "思远", "兰", "振华", "玉珍",
];

/// A fictional enterprise, as the register has it.
#[derive(Debug, Clone)]
pub struct Enterprise {
    /// its code
    pub uscc: Uscc,
    /// its name
    pub name: String,
    /// its home
    pub region: Region,
    /// section of GB/T 4754-2017
    pub industry: &'static str,
    /// its legal representative
    pub legal_representative: String,
    /// year, month, day
    pub established: (i64, i64, i64),
    /// registered capital in 万元
    pub capital_wan: i64,
    /// position in its region's list
    pub index: u64,
}

/// The first `n` enterprises of a region.
pub fn enterprise_list(seed: u64, region: Region, n: usize) -> Vec<Enterprise> {
    (0_u64..).take(n).filter_map(|i| enterprise(seed, region, i)).collect()
}

pub(super) fn region_number(region: Region) -> u64 {
    region.as_str().bytes().fold(0, |n, b| n * 10 + u64::from(b.wrapping_sub(b'0')))
}

fn enterprise(seed: u64, region: Region, index: u64) -> Option<Enterprise> {
    let mut s = Stream::of(seed, &[1, region_number(region), index]);
    // the numbers 0 to 63,999 in a shuffled order: no name twice in a region
    let mut shuffled = Stream::of(seed, &[2, region_number(region)]);
    let k =
        usize::try_from(index.wrapping_mul(48_271).wrapping_add(shuffled.next() % 64_000) % 64_000).ok()?;
    let (industry, trade) = TRADES.get(k % 40).copied()?;
    let (a, b) = (FIRST.get(k / 40 % 40)?, SECOND.get(k / 1600)?);
    let code = region.as_str();
    let city = CITIES.iter().find(|(c, _)| *c == code).map_or(code, |(_, name)| name);
    let form = if s.chance(8) { "股份有限公司" } else { "有限公司" };
    Some(Enterprise {
        uscc: uscc_of(seed, region, index)?,
        name: format!("{city}{a}{b}{trade}{form}"),
        region,
        industry,
        legal_representative: format!("{}{}", s.pick(&SURNAMES), s.pick(&GIVEN)),
        established: (s.between(1993, 2022), s.between(1, 12), s.between(1, 28)),
        capital_wan: s.pick(&[50, 100, 200, 500, 500, 1000, 1000, 2000, 3000, 5000, 10_000, 50_000]),
        index,
    })
}

/// 91 ‖ region ‖ organization code (GB 11714) ‖ check character (GB 32100).
pub(super) fn uscc_of(seed: u64, region: Region, index: u64) -> Option<Uscc> {
    const CODES: u64 = 31 * 31 * 31 * 31 * 31 * 31;
    let start = Stream::of(seed, &[3, region_number(region)]).next() % CODES;
    let mut n = index.checked_mul(48_271)?.checked_add(start)? % CODES; // 48271 and 31 have no common factor
    let mut tail = Vec::new();
    for _ in 0..6 {
        tail.push(ALPHABET.get(usize::try_from(n % 31).ok()?)?);
        n /= 31;
    }
    let organization: String = "XG".chars().chain(tail.into_iter().rev().copied()).collect();
    let check = organization_check(&organization)?;
    let first17 = format!("91{region}{organization}{check}");
    let last = uscc::check_character(first17.as_bytes().try_into().ok()?).ok()?;
    Uscc::parse(&format!("{first17}{}", char::from(last))).ok()
}

/// C9 of GB 11714: 11 − Σ Cᵢ·Wᵢ mod 11, with 10 written X and 11 written 0.
pub(super) fn organization_check(first8: &str) -> Option<char> {
    let weights = [3, 7, 9, 10, 5, 8, 4, 2];
    let mut sum = 0;
    for (c, w) in first8.chars().zip(weights) {
        sum += c.to_digit(36)? * w;
    }
    match 11 - sum % 11 {
        10 => Some('X'),
        11 => Some('0'),
        n => char::from_digit(n, 10),
    }
}
